use spurline_http::Error;
use spurline_telemetry::metrics::{Limit, Reason};

use crate::reply::Reply;

/// Why a relay failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The request body breaks HTTP.
    BadRequest(Error),
    /// The response breaks HTTP.
    BadResponse(Error),
    /// The client paused its request body for too long.
    BodyTimeout,
    /// The client has left, or takes its response too slowly.
    ClientGone,
    /// The client does not wait any longer, by what its request said.
    Overdue,
    /// The upstream said that it did not process the request (RFC 9113 section 8.7).
    Refused,
    /// The whole exchange took too long.
    RequestTimeout,
    /// The upstream did not go on in time.
    ResponseTimeout,
    /// More interim responses than anybody needs.
    TooManyInterim,
    /// The upstream closed or reset the connection before it sent a byte.
    Unanswered,
    /// The upstream closed or reset the connection after that.
    UpstreamGone,
}

// === impl Fault ===

impl Fault {
    /// The answer to the client, while it can still be given. `None`: there is nobody to answer.
    pub(crate) fn reply(self) -> Option<Reply> {
        match self {
            Self::BadRequest(error) => Some(Reply::to_bad_request(error)),
            Self::BadResponse(error) => Some(Reply::to_bad_response(error)),
            Self::BodyTimeout => Some(Reply::new(408, Reason::BodyTimeout)),
            Self::ClientGone => None,
            Self::Overdue => Some(Reply::new(504, Reason::GrpcTimeout)),
            Self::Refused => Some(Reply::new(503, Reason::UpstreamRefused)),
            Self::RequestTimeout => Some(Reply::new(504, Reason::RequestTimeout)),
            Self::ResponseTimeout => Some(Reply::new(504, Reason::ResponseTimeout)),
            Self::TooManyInterim => Some(Reply::new(502, Reason::UpstreamTooLarge)),
            Self::Unanswered | Self::UpstreamGone => Some(Reply::new(502, Reason::UpstreamReset)),
        }
    }

    /// Whether the endpoint is to be held responsible.
    pub(crate) fn blames_upstream(self) -> bool {
        match self {
            Self::BadResponse(_)
            | Self::ResponseTimeout
            | Self::TooManyInterim
            | Self::Unanswered
            | Self::UpstreamGone => true,
            Self::BadRequest(_)
            | Self::BodyTimeout
            | Self::ClientGone
            | Self::Overdue
            | Self::Refused
            | Self::RequestTimeout => false,
        }
    }

    /// Whether the upstream broke off.
    pub(crate) fn is_cut(self) -> bool {
        matches!(self, Self::Unanswered | Self::UpstreamGone | Self::BadResponse(Error::Truncated))
    }

    /// The limit that was reached, if that is the reason.
    pub(crate) fn limit(self) -> Option<Limit> {
        match self {
            Self::BadRequest(error) | Self::BadResponse(error) => match error {
                Error::ChunkExtensions => Some(Limit::ChunkExtensionBytes),
                Error::HeadTooLarge => Some(Limit::HeadBytes),
                Error::TooManyFields => Some(Limit::Fields),
                Error::TrailersTooLarge => Some(Limit::TrailerBytes),
                _ => None,
            },
            Self::TooManyInterim => Some(Limit::Informational),
            _ => None,
        }
    }

    /// Whether the upstream may not even have seen the request.
    pub(crate) fn is_unanswered(self) -> bool {
        self == Self::Unanswered
    }
}
