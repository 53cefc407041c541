//! Signs the links of invites: HMAC-SHA-256 under a key derived from the pepper, so that every gate that
//! shares the pepper takes the link that another one made.
//!
//! Invariants: a link holds an invite's id and its end, and no secret of anybody; its signature covers the
//! agent and the address too, so that a record that was changed in the database opens nothing; one link
//! has one written form.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{Pepper, hkdf_32, hmac_sha256};
use crate::model::{AgentId, EmailAddress, InviteId, Timestamp};

/// What a token begins with, so that it is known for what it is where it leaks.
pub const INVITE_PREFIX: &str = "wki_";
/// Id, end, signature.
const TOKEN_BYTES: usize = 16 + 8 + 32;

/// What an invite's link stands for.
#[derive(Debug, Clone, Copy)]
pub struct InviteFacts<'a> {
    pub id: InviteId,
    pub agent: AgentId,
    pub email: &'a EmailAddress,
    pub expires_at: Timestamp,
}

/// Signs and checks invites.
pub struct InviteSigner(Zeroizing<[u8; 32]>);

impl fmt::Debug for InviteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSigner(redacted)")
    }
}

/// A token that has the form of one; nothing of it is believed yet.
#[derive(Clone, Copy)]
pub struct InviteToken {
    /// Which invite it claims to be of.
    pub id: InviteId,
    expires_at: Timestamp,
    signature: [u8; 32],
}

impl InviteToken {
    /// Takes a token apart; `None` where it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(INVITE_PREFIX)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (expires_at, rest) = rest.split_first_chunk::<8>()?;
        let signature: [u8; 32] = rest.try_into().ok()?;
        Some(Self {
            id: InviteId::from_uuid(uuid::Uuid::from_bytes(*id)),
            expires_at: Timestamp::from_millis(i64::from_be_bytes(*expires_at)),
            signature,
        })
    }
}

impl InviteSigner {
    /// The signer of every gate that has this pepper.
    pub fn new(pepper: &Pepper) -> Self {
        Self(hkdf_32(None, pepper.bytes(), b"wicket/invite/v1"))
    }

    /// The token of this invite.
    pub fn token(&self, facts: &InviteFacts<'_>) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend_from_slice(facts.id.as_uuid().as_bytes());
        bytes.extend_from_slice(&facts.expires_at.as_millis().to_be_bytes());
        bytes.extend_from_slice(&self.signature(facts));
        format!("{INVITE_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Whether the token is the one of this invite, in constant time.
    pub fn verifies(&self, token: &InviteToken, facts: &InviteFacts<'_>) -> bool {
        let signed: bool = self.signature(facts).ct_eq(&token.signature).into();
        signed && token.id == facts.id && token.expires_at == facts.expires_at
    }

    fn signature(&self, facts: &InviteFacts<'_>) -> [u8; 32] {
        // Everything but the address has a fixed length, and it comes last: no two invites are one text.
        let mut message = Vec::with_capacity(40 + facts.email.as_str().len());
        message.extend_from_slice(facts.id.as_uuid().as_bytes());
        message.extend_from_slice(facts.agent.as_uuid().as_bytes());
        message.extend_from_slice(&facts.expires_at.as_millis().to_be_bytes());
        message.extend_from_slice(facts.email.as_str().as_bytes());
        hmac_sha256(&self.0, &message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> uuid::Uuid {
        uuid::Uuid::from_bytes([byte; 16])
    }

    #[test]
    fn the_token_is_what_python_computes() {
        // hmac.new(HKDF(None, bytes(range(100, 132)), b"wicket/invite/v1"), id + agent + end + address).
        let email = EmailAddress::parse("Ann@example.com").unwrap();
        let pepper = Pepper::from_bytes(std::array::from_fn(|i| 100 + u8::try_from(i).unwrap()));
        let facts = InviteFacts {
            id: InviteId::from_uuid(id(1)),
            agent: AgentId::from_uuid(id(2)),
            email: &email,
            expires_at: Timestamp::from_millis(1_800_000_000_000),
        };
        assert_eq!(
            InviteSigner::new(&pepper).token(&facts),
            "wki_AQEBAQEBAQEBAQEBAQEBAQAAAaMYXFAAWk2ZV5v9SD9UH1DsHIiZf6AaUhQFa7z9bfMgDxM5Xnk"
        );
    }

    #[test]
    fn a_token_opens_its_own_invite_alone() {
        let signer = InviteSigner::new(&Pepper::from_bytes([7; 32]));
        let (ann, ben) = (
            EmailAddress::parse("ann@example.com").unwrap(),
            EmailAddress::parse("ben@example.com").unwrap(),
        );
        let facts = InviteFacts {
            id: InviteId::from_uuid(id(1)),
            agent: AgentId::from_uuid(id(2)),
            email: &ann,
            expires_at: Timestamp::from_millis(1_800_000_000_000),
        };
        let text = signer.token(&facts);
        let token = InviteToken::parse(&text).unwrap();
        assert!(signer.verifies(&token, &facts));
        assert!(!InviteSigner::new(&Pepper::from_bytes([8; 32])).verifies(&token, &facts));
        for other in [
            InviteFacts { id: InviteId::from_uuid(id(3)), ..facts },
            InviteFacts { agent: AgentId::from_uuid(id(3)), ..facts },
            InviteFacts { email: &ben, ..facts },
            InviteFacts { expires_at: Timestamp::from_millis(1_800_000_000_001), ..facts },
        ] {
            assert!(!signer.verifies(&token, &other), "{other:?}");
        }
        for at in INVITE_PREFIX.len()..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let opens = InviteToken::parse(&changed).is_some_and(|token| signer.verifies(&token, &facts));
            assert!(changed == text || !opens, "character {at}");
        }
        for bad in [
            "",
            "wki_",
            "wki_AAAA",
            text.trim_start_matches("wki_"),
            &format!("{text}A"),
            &format!("{text}="),
        ] {
            assert!(InviteToken::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(format!("{signer:?}"), "InviteSigner(redacted)");
    }
}
