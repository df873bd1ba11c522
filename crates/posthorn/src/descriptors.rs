//! Open files and sockets: how many there may be, and who may have them.
//!
//! All of them come from one number, and who takes the last one stops all
//! others. So it is shared out at the start: callers cannot take what the
//! store, the operators and the calls to endpoints need.

/// What there may be of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Connections of callers.
    pub(crate) callers: usize,
    /// Connections of operators.
    pub(crate) operators: usize,
    /// Connections to endpoints.
    pub(crate) calls: usize,
}

/// No listener needs more.
const MOST_CALLERS: usize = 20_000;
/// Nor do operators.
const MOST_OPERATORS: usize = 256;
/// How many are wanted, where the system lets us have them.
const WANTED: u64 = 65_536;

/// Raises the soft limit as far as it goes, and shares it out.
pub(crate) fn share_out() -> Shares {
    // Where it cannot be raised or read, the least that any system has.
    let limit = rlimit::increase_nofile_limit(WANTED).unwrap_or(1_024);
    Shares::of(usize::try_from(limit).unwrap_or(usize::MAX))
}

impl Shares {
    /// Of so many: callers get a half, calls a quarter, and a quarter is kept
    /// back for the store, the operators and everything else.
    fn of(limit: usize) -> Self {
        Self {
            callers: (limit / 2).min(MOST_CALLERS),
            operators: (limit / 32).clamp(8, MOST_OPERATORS),
            calls: limit / 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_left_for_the_store_whatever_the_limit() {
        for limit in [256, 1_024, 4_096, 65_536, 1_048_576] {
            let Shares { callers, operators, calls } = Shares::of(limit);
            assert!(callers + operators + calls <= limit - limit / 5, "{limit}");
        }
        assert_eq!(Shares::of(1_024), Shares { callers: 512, operators: 32, calls: 256 });
    }
}
