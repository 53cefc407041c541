//! The requests that are decided and sent on, by method.

/// A method whose requests go to one upstream, each decided and recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    ToolsCall,
    PromptsGet,
    ResourcesRead,
    /// Session era.
    ResourcesSubscribe,
    /// Session era.
    ResourcesUnsubscribe,
    Complete,
    /// Session era; goes to every upstream that logs.
    SetLevel,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ToolsCall,
        Self::PromptsGet,
        Self::ResourcesRead,
        Self::ResourcesSubscribe,
        Self::ResourcesUnsubscribe,
        Self::Complete,
        Self::SetLevel,
    ];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ToolsCall => "tools/call",
            Self::PromptsGet => "prompts/get",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::Complete => "completion/complete",
            Self::SetLevel => "logging/setLevel",
        }
    }

    /// The method of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }

    /// The operation that policies decide on (`connector::operation`); `None` for tools, which are
    /// decided by their own names. Taking back a subscription is decided as making one.
    pub const fn operation(self) -> Option<&'static str> {
        match self {
            Self::ToolsCall => None,
            Self::ResourcesUnsubscribe => Some("resources/subscribe"),
            other => Some(other.as_str()),
        }
    }

    /// Whether a request may be answered with `input_required` (MCP 2026-07-28).
    pub const fn may_need_input(self) -> bool {
        matches!(self, Self::ToolsCall | Self::PromptsGet | Self::ResourcesRead)
    }

    /// Whether it ended with the session era.
    pub const fn is_of_session_era(self) -> bool {
        matches!(self, Self::ResourcesSubscribe | Self::ResourcesUnsubscribe | Self::SetLevel)
    }
}
