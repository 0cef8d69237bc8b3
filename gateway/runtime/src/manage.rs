//! Operators' requests to the directory.

use evergate_core::{DirectoryCommand, ManageError, ManageReply, ManageRequest, SessionEvent};
use evergate_model::Token;

use crate::gateway::Gateway;

impl Gateway {
    /// Has the directory do something; answered when it is done and committed.
    pub async fn manage(&self, request: ManageRequest) -> Result<ManageReply, ManageError> {
        let (session, mailbox) = self.open_session();
        let (token, request) = (Token(1), Box::new(request));
        self.directory.push(DirectoryCommand::Manage { session, token, request });
        let mut failed = self.stopping();
        let mut events = Vec::new();
        let result = loop {
            tokio::select! {
                () = mailbox.filled() => {
                    mailbox.take(&mut events);
                    let answer = events.drain(..).find_map(|event| match event {
                        SessionEvent::Managed { result, .. } => Some(result),
                        _ => None,
                    });
                    if let Some(result) = answer {
                        break result;
                    }
                }
                // The tasks end soon: nobody may be left to answer.
                _ = failed.wait_for(Option::is_some) => break Err(ManageError::Unavailable),
            }
        };
        self.close_session(session);
        result
    }
}
