//! `pool worker token …`: enrolment tokens.

use client::Client;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use wire_protocol::ids::TokenId;
use wire_protocol::joining::NewToken;
use wire_protocol::limits::TOKENS_PAGE_LEN_MAX;
use wire_protocol::units::Millis;

use super::Context;
use super::args::{Token, TokenCreate};
use super::exit::{Exit, Failure};
use super::views::{Changed, TokenMade};

/// Bytes of chance in a token: nobody guesses it, so the engine may compare digests without salt.
const CHANCE_BYTES: usize = 32;

/// What a token begins with, so that it is recognised where it should not be.
const PREFIX: &str = "pool-enrol-";

pub(crate) async fn run(context: &Context, client: &Client, command: Token) -> Result<Exit, Failure> {
    match command {
        Token::Create(create) => make(context, client, create).await,
        Token::List => list(context, client).await,
        Token::Revoke { token } => {
            let changed = client.revoke_token(token).await?;
            context.output.one(&Changed {
                action: "revoke",
                subject: format!("token {token}"),
                changed,
            })?;
            Ok(Exit::Ok)
        }
    }
}

/// The token is drawn here: the engine is told its digest, and sees it when a worker shows it.
async fn make(context: &Context, client: &Client, create: TokenCreate) -> Result<Exit, Failure> {
    let mut chance = [0; CHANCE_BYTES];
    SystemRandom::new()
        .fill(&mut chance)
        .map_err(|_| Failure::new(Exit::Failed, "the system gives no randomness"))?;
    let digits: String = chance.iter().map(|byte| format!("{byte:02x}")).collect();
    let secret = format!("{PREFIX}{digits}");
    let digest = digest(&SHA256, secret.as_bytes());
    let new = NewToken {
        digest: digest.as_ref().try_into().expect("SHA-256 is 32 bytes"),
        expires_in: Millis(u64::try_from(create.expires.as_millis()).unwrap_or(u64::MAX)),
        uses: create.uses,
        label: create.label,
        groups: create.group,
    };
    let view = client.create_token(new).await?;
    context.output.one(&TokenMade { secret, view })?;
    Ok(Exit::Ok)
}

async fn list(context: &Context, client: &Client) -> Result<Exit, Failure> {
    let mut list = context.output.list();
    let mut after = TokenId(0);
    loop {
        let page = client.tokens(after, TOKENS_PAGE_LEN_MAX).await?;
        list.page(&page)?;
        match page.last() {
            Some(last) if page.len() == TOKENS_PAGE_LEN_MAX as usize => after = last.token,
            _ => break,
        }
    }
    list.end()?;
    Ok(Exit::Ok)
}
