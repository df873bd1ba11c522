//! Portal sessions in memory.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use model::access::TokenHash;
use model::clock::Timestamp;
use model::ids::PortalSessionId;
use model::portal::CLOCKS_APART;

use super::KnownSession;

/// Sessions by id and token. Those that have run out go when others come, a day
/// later, so that there are no more than may be opened in two days.
#[derive(Default)]
pub(super) struct Sessions {
    by_id: HashMap<PortalSessionId, Arc<KnownSession>>,
    by_token: HashMap<TokenHash, PortalSessionId>,
    by_end: BTreeSet<(Timestamp, PortalSessionId)>,
}

fn tokens(known: &KnownSession) -> impl Iterator<Item = TokenHash> {
    [Some(known.tokens.token), known.tokens.page_token].into_iter().flatten()
}

impl Sessions {
    pub(super) fn get(&self, id: PortalSessionId) -> Option<Arc<KnownSession>> {
        self.by_id.get(&id).cloned()
    }

    pub(super) fn by_token(&self, token: &TokenHash) -> Option<Arc<KnownSession>> {
        self.get(*self.by_token.get(token)?)
    }

    pub(super) fn insert(&mut self, known: KnownSession) {
        let id = known.session.id;
        self.remove(id);
        // Clocks may differ: what ran out long before this one began has run out.
        let long_before = known.session.created_at.minus(CLOCKS_APART);
        while let Some((end, old)) = self.by_end.first().copied()
            && end <= long_before
        {
            self.remove(old);
        }
        self.by_end.insert((known.session.expires_at, id));
        self.by_token.extend(tokens(&known).map(|token| (token, id)));
        self.by_id.insert(id, Arc::new(known));
    }

    pub(super) fn remove(&mut self, id: PortalSessionId) {
        if let Some(known) = self.by_id.remove(&id) {
            self.by_end.remove(&(known.session.expires_at, id));
            for token in tokens(&known) {
                self.by_token.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::access::Scopes;
    use model::ids::{KeyId, ProjectId, TenantId};
    use model::portal::{PortalSession, Theme};
    use uuid::Uuid;

    use super::*;
    use crate::portal::SessionTokens;

    /// A session that is good from one second to another.
    fn known(number: u8, from: i64, to: i64) -> KnownSession {
        KnownSession {
            session: PortalSession {
                id: PortalSessionId(Uuid::from_u128(number.into())),
                project: ProjectId(Uuid::nil()),
                tenant: TenantId(Uuid::nil()),
                opened_by: KeyId(Uuid::nil()),
                scopes: Scopes::default(),
                origins: Vec::new(),
                theme: Theme::default(),
                locale: None,
                page: None,
                created_at: Timestamp::from_secs(from),
                expires_at: Timestamp::from_secs(to),
            },
            tokens: SessionTokens {
                token: [number; 32],
                code: None,
                code_until: Timestamp::from_secs(to),
                page_token: Some([number + 100; 32]),
            },
        }
    }

    #[test]
    fn a_session_is_known_by_both_tokens_until_it_ends() {
        let mut sessions = Sessions::default();
        let one = known(1, 0, 100);
        let id = one.session.id;
        sessions.insert(one);
        for token in [[1; 32], [101; 32]] {
            assert_eq!(sessions.by_token(&token).map(|known| known.session.id), Some(id));
        }
        sessions.remove(id);
        assert!(sessions.get(id).is_none() && sessions.by_token.is_empty() && sessions.by_end.is_empty());
    }

    #[test]
    fn those_that_have_run_out_go_when_others_come() {
        let mut sessions = Sessions::default();
        sessions.insert(known(1, 0, 100));
        sessions.insert(known(2, 0, 200));
        sessions.insert(known(3, 100 + 24 * 3_600, 100 + 48 * 3_600));
        let there = |number: u8| sessions.by_token(&[number; 32]).is_some();
        assert_eq!([1, 2, 3].map(there), [false, true, true]);
        assert_eq!(sessions.by_id.len(), 2);
    }
}
