//! The real clock and the real randomness. Everything else gets them as
//! arguments; this is the only place that asks the system.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use delivery_log::Env;
use model::clock::{Clock, Timestamp};
use model::entropy::Entropy;

/// The system's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The system's randomness, taken in pieces: a system call for each of the
/// several ids of a delivery would cost more than all else about them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemEntropy;

/// Random bytes in store for one thread. What was given out is wiped.
struct Pool {
    bytes: [u8; 1024],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; 1024], used: 1024 }) };
}

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        POOL.with_borrow_mut(|pool| {
            if bytes.len() > pool.bytes.len() {
                return from_system(bytes);
            }
            if pool.used + bytes.len() > pool.bytes.len() {
                from_system(&mut pool.bytes);
                pool.used = 0;
            }
            let end = pool.used + bytes.len();
            let taken = &mut pool.bytes[pool.used..end];
            bytes.copy_from_slice(taken);
            taken.fill(0);
            pool.used = end;
        });
    }
}

fn from_system(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives random bytes");
}

/// The real world.
pub(crate) fn env() -> Env {
    Env::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
}

/// This program, also where its file was replaced by a newer one meanwhile.
pub(crate) fn this_program() -> std::path::PathBuf {
    match cfg!(target_os = "linux") {
        true => "/proc/self/exe".into(),
        false => std::env::current_exe().unwrap_or_else(|_| "posthorn".into()),
    }
}
