//! What a client does with transactions.

use evergate_model::{TransactionError, TransactionId};

use super::{Around, Client, Current};
use crate::connection::{Connection, Pending};
use crate::model::{Check, Model};

impl Client {
    /// What was not committed is rolled back; what is not answered is in doubt.
    pub(super) fn lose_transactions(&mut self, connection: &Connection, model: &mut Model) -> Check {
        for pending in connection.pending.values() {
            match pending {
                Pending::Commit(id) => {
                    model.left_in_doubt(*id);
                    self.doubtful.push(*id);
                }
                Pending::Rollback(id) => model.transaction_void(*id)?,
                _ => {}
            }
        }
        match self.transaction.take() {
            Some(Current { id: Some(id), ends: false, .. }) => model.transaction_void(id),
            _ => Ok(()),
        }
    }

    pub(super) fn open_transaction(&self) -> Option<TransactionId> {
        self.transaction.as_ref().filter(|current| !current.ends)?.id
    }

    pub(super) fn begin(&mut self, around: &mut Around<'_>) {
        if let (Some(connection), None) = (&mut self.connection, &self.transaction) {
            let token = connection.token(Pending::Begin);
            connection.publisher.begin(around.node, token);
            self.transaction = Some(Current::default());
        }
    }

    /// Commits or rolls back.
    pub(super) fn end_transaction(&mut self, around: &mut Around<'_>) {
        let Some(id) = self.open_transaction() else { return };
        let (Some(connection), Some(current)) = (&mut self.connection, &mut self.transaction) else { return };
        current.ends = true;
        if around.rng.one_in(4) {
            let token = connection.token(Pending::Rollback(id));
            connection.publisher.rollback(around.node, around.journal, id, token);
            return;
        }
        let settled = current.settled.iter().map(|(_, settled)| settled.clone()).collect();
        around.model.asks(id, settled, self.last_number);
        let token = connection.token(Pending::Commit(id));
        connection.publisher.commit(id, token);
    }

    /// Asks what became of a transaction.
    pub(super) fn ask_again(&mut self, around: &mut Around<'_>) {
        let Some(connection) = &mut self.connection else { return };
        if self.doubtful.is_empty() {
            return;
        }
        let id = self.doubtful.swap_remove(around.rng.index(self.doubtful.len()));
        let token = connection.token(Pending::Commit(id));
        connection.publisher.commit(id, token);
    }

    pub(super) fn told_outcome(
        &mut self,
        model: &mut Model,
        id: TransactionId,
        result: &Result<(), TransactionError>,
    ) -> Check {
        let is_current = self.transaction.as_ref().is_some_and(|current| current.id == Some(id));
        let current = if is_current { self.transaction.take() } else { None };
        match result {
            Ok(()) => return model.transaction_committed(id),
            Err(TransactionError::Unavailable) => {
                self.doubtful.push(id);
                return Ok(());
            }
            Err(TransactionError::RolledBack(..) | TransactionError::Unknown) => model.transaction_void(id)?,
        }
        // What was settled in it is held again, by those who are still there.
        let Some(connection) = &mut self.connection else { return Ok(()) };
        for (consumer, settled) in current.into_iter().flat_map(|current| current.settled) {
            if let Some(state) = connection.consumers.get_mut(&consumer).filter(|state| !state.leaving) {
                state.held.extend(settled.places);
            }
        }
        Ok(())
    }
}
