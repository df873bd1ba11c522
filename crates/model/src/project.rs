//! What a project does with events that it does not expect.

crate::words!(
    /// What happens to an event for a tenant that does not exist.
    UnknownTenant, by default Reject {
        /// It is refused.
        Reject = "reject",
        /// The tenant is created.
        Create = "create",
    }
);

crate::words!(
    /// What happens to an event of a type that is not in the catalogue.
    UndeclaredTypes, by default Accept {
        /// It is delivered.
        Accept = "accept",
        /// It is refused.
        Reject = "reject",
    }
);

crate::words!(
    /// What happens to an event whose data does not fit its schema.
    Validation, by default Reject {
        /// It is refused.
        Reject = "reject",
        /// It waits until somebody releases or drops it.
        Quarantine = "quarantine",
        /// It is delivered all the same, and the answer has a warning.
        Warn = "warn",
    }
);
