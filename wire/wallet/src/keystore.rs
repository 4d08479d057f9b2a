//! Keystores of wallets, version 3: a private key under a password, in a JSON file.
//!
//! The format: <https://ethereum.org/developers/docs/data-structures-and-encoding/web3-secret-storage>. What is bounded
//! here is what a file can make this program do: scrypt takes 128·n·r bytes of memory.

use std::num::NonZeroU32;
use std::path::Path;
use std::{fs, io};

use aes::Aes128;
use ctr::cipher::{KeyIvInit, StreamCipher};
use data_encoding::HEXLOWER_PERMISSIVE;
use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use sha3::{Digest, Keccak256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Wallet, WalletError};

/// Memory that scrypt may take; the wallets of Ethereum's programs take 256 MiB at most.
const SCRYPT_BYTES_MAX: u64 = 1 << 30;

/// Rounds of PBKDF2; they take a second or so.
const ROUNDS_MAX: u32 = 10_000_000;

/// Rounds of a keystore that is made here: what Ethereum's programs take.
const ROUNDS: u32 = 262_144;

/// Bytes of a keystore; it has some 500.
const FILE_BYTES_MAX: u64 = 64 << 10;

#[derive(Serialize, Deserialize)]
struct Keystore {
    version: u32,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt {
        n: u64,
        r: u32,
        p: u32,
        dklen: usize,
        salt: String,
    },
    Pbkdf2 {
        c: u32,
        dklen: usize,
        prf: String,
        salt: String,
    },
}

/// Why a file does not open a wallet. Nothing of a password or a key is in it.
#[derive(Debug, Error)]
pub enum KeystoreError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[from] io::Error),
    /// It is no keystore of version 3; the text says what it is instead.
    #[error("it is no keystore (version 3, JSON): {0}")]
    Format(String),
    /// It asks for more memory or time than any honest one.
    #[error("its key takes too much to derive: {0}")]
    Costly(String),
    /// The keystore is another password's.
    #[error("the password is wrong")]
    Password,
    /// What it keeps is no key.
    #[error(transparent)]
    Key(#[from] WalletError),
}

use KeystoreError::{Costly, Format, Password};

/// Opens the wallet in this file. That takes from 20 ms to a second and up to 256 MiB, as whoever made it chose.
///
/// # Errors
/// The file is no keystore of version 3, takes more than it may, or the password is another.
pub fn open(path: &Path, password: &str) -> Result<Wallet, KeystoreError> {
    let bytes = fs::metadata(path)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Format(format!("it has {bytes} bytes")));
    }
    decrypt(&fs::read(path)?, password)
}

/// The same for a keystore that is in memory.
///
/// # Errors
/// As [`open`].
pub fn decrypt(json: &[u8], password: &str) -> Result<Wallet, KeystoreError> {
    let keystore: Keystore = serde_json::from_slice(json).map_err(|error| Format(error.to_string()))?;
    if keystore.version != 3 {
        return Err(Format(format!("its version is {}", keystore.version)));
    }
    let crypto = keystore.crypto;
    if crypto.cipher != "aes-128-ctr" {
        return Err(Format(format!(
            "its cipher is {}, not aes-128-ctr",
            crypto.cipher
        )));
    }
    let derived = crypto.kdf.derive(password)?;
    let mut text = Zeroizing::new(hex(&crypto.ciphertext)?);
    let mut hasher = Keccak256::new();
    hasher.update(&derived[16..]);
    hasher.update(&*text);
    // Who can read the file can try passwords anyway: how long the comparison takes tells nobody anything.
    if hasher.finalize().as_slice() != hex(&crypto.mac)? {
        return Err(Password);
    }
    let iv: [u8; 16] = hex(&crypto.cipherparams.iv)?
        .try_into()
        .map_err(|_| Format("its iv has not 16 bytes".to_owned()))?;
    let key: Zeroizing<[u8; 16]> = Zeroizing::new(derived[..16].try_into().expect("half of 32 bytes"));
    ctr::Ctr128BE::<Aes128>::new((&*key).into(), &iv.into()).apply_keystream(&mut text);
    let key: &[u8; 32] = text
        .as_slice()
        .try_into()
        .map_err(|_| Format("its key has not 32 bytes".to_owned()))?;
    Ok(Wallet::of(key)?)
}

/// A keystore with this key under this password, as [`decrypt`] reads it.
///
/// # Errors
/// The key is none.
///
/// # Panics
/// The system gives no randomness.
pub fn encrypt(key: &[u8; 32], password: &str) -> Result<String, KeystoreError> {
    Wallet::of(key)?;
    let random = |bytes: &mut [u8]| {
        SystemRandom::new()
            .fill(bytes)
            .expect("the system gives randomness")
    };
    let (mut salt, mut iv) = ([0; 32], [0; 16]);
    random(&mut salt);
    random(&mut iv);
    let kdf = Kdf::Pbkdf2 {
        c: ROUNDS,
        dklen: 32,
        prf: "hmac-sha256".to_owned(),
        salt: HEXLOWER_PERMISSIVE.encode(&salt),
    };
    let derived = kdf.derive(password)?;
    let mut text = *key;
    let cipher: Zeroizing<[u8; 16]> = Zeroizing::new(derived[..16].try_into().expect("half of 32 bytes"));
    ctr::Ctr128BE::<Aes128>::new((&*cipher).into(), &iv.into()).apply_keystream(&mut text);
    let mut hasher = Keccak256::new();
    hasher.update(&derived[16..]);
    hasher.update(text);
    let keystore = Keystore {
        version: 3,
        crypto: Crypto {
            cipher: "aes-128-ctr".to_owned(),
            cipherparams: CipherParams {
                iv: HEXLOWER_PERMISSIVE.encode(&iv),
            },
            ciphertext: HEXLOWER_PERMISSIVE.encode(&text),
            kdf,
            mac: HEXLOWER_PERMISSIVE.encode(hasher.finalize().as_slice()),
        },
    };
    Ok(serde_json::to_string_pretty(&keystore).expect("plain fields"))
}

impl Kdf {
    fn derive(&self, password: &str) -> Result<Zeroizing<[u8; 32]>, KeystoreError> {
        let mut derived = Zeroizing::new([0; 32]);
        match self {
            Self::Scrypt { n, r, p, dklen, salt } => {
                has_32_bytes(*dklen)?;
                let bytes = n.saturating_mul(u64::from(*r)).saturating_mul(128);
                let too_much = || Costly(format!("scrypt with n={n}, r={r}, p={p}, or no such thing"));
                if !n.is_power_of_two() || *n <= 1 || bytes > SCRYPT_BYTES_MAX || *p > 16 {
                    return Err(too_much());
                }
                let log_n = u8::try_from(n.trailing_zeros()).expect("at most 63");
                let params = scrypt::Params::new(log_n, *r, *p).map_err(|_| too_much())?;
                scrypt::scrypt(password.as_bytes(), &hex(salt)?, &params, &mut *derived)
                    .expect("32 bytes are a length that scrypt gives");
            }
            Self::Pbkdf2 { c, dklen, prf, salt } => {
                has_32_bytes(*dklen)?;
                if prf != "hmac-sha256" {
                    return Err(Format(format!(
                        "its pseudorandom function is {prf}, not hmac-sha256"
                    )));
                }
                let rounds = NonZeroU32::new(*c).filter(|rounds| rounds.get() <= ROUNDS_MAX);
                let rounds = rounds
                    .ok_or_else(|| Costly(format!("{c} rounds, and from 1 to {ROUNDS_MAX} are taken")))?;
                let salt = hex(salt)?;
                pbkdf2::derive(
                    pbkdf2::PBKDF2_HMAC_SHA256,
                    rounds,
                    &salt,
                    password.as_bytes(),
                    &mut *derived,
                );
            }
        }
        Ok(derived)
    }
}

fn has_32_bytes(dklen: usize) -> Result<(), KeystoreError> {
    if dklen == 32 {
        Ok(())
    } else {
        Err(Format(format!("it derives {dklen} bytes, not 32")))
    }
}

fn hex(text: &str) -> Result<Vec<u8>, KeystoreError> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    HEXLOWER_PERMISSIVE
        .decode(digits.as_bytes())
        .map_err(|_| Format(format!("`{text}` is not hexadecimal")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The two vectors of the format's description; their password is `testpassword`.
    const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
        "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256",
        "salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

    #[test]
    fn a_keystore_opens_by_its_password_and_by_no_other() {
        let wallet = decrypt(PBKDF2.as_bytes(), "testpassword").expect("the vector of the description");
        let key = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
        let key: [u8; 32] = hex(key).expect("digits").try_into().expect("32 bytes");
        assert_eq!(wallet.address(), Wallet::of(&key).expect("a key").address());
        let wrong = decrypt(PBKDF2.as_bytes(), "password").expect_err("another password");
        assert!(wrong.to_string().contains("password is wrong"), "{wrong}");
    }

    #[test]
    fn a_keystore_that_is_made_here_opens_here() {
        let key = [0x42; 32];
        let json = encrypt(&key, "hush").expect("a key");
        assert_eq!(
            decrypt(json.as_bytes(), "hush").expect("its password").address(),
            Wallet::of(&key).expect("a key").address()
        );
        assert!(decrypt(json.as_bytes(), "hash").is_err());
        assert_ne!(
            json,
            encrypt(&key, "hush").expect("a key"),
            "each has a salt of its own"
        );
        assert!(encrypt(&[0; 32], "hush").is_err(), "zero is no key");
    }

    #[test]
    fn what_is_no_keystore_or_takes_too_much_is_refused() {
        for (from, to) in [
            ("\"version\":3", "\"version\":1"),
            ("aes-128-ctr", "aes-128-cbc"),
            ("hmac-sha256", "hmac-sha1"),
            ("\"c\":262144", "\"c\":4000000000"),
            ("\"c\":262144", "\"c\":0"),
            ("\"dklen\":32", "\"dklen\":16"),
            ("6087dab2", "zz87dab2"),
            ("\"kdf\":\"pbkdf2\"", "\"kdf\":\"argon2\""),
        ] {
            let changed = PBKDF2.replace(from, to);
            assert_ne!(changed, PBKDF2, "{from}");
            assert!(decrypt(changed.as_bytes(), "testpassword").is_err(), "{to}");
        }
        let memory = r#"{"n":1048576,"r":64,"p":1,"dklen":32,"salt":"00"}"#;
        let kdf = format!(r#"{{"kdf":"scrypt","kdfparams":{memory}}}"#);
        let kdf: Kdf = serde_json::from_str(&kdf).expect("well-formed");
        assert!(kdf.derive("x").is_err());
        assert!(decrypt(b"{}", "x").is_err());
    }

    /// RFC 7914, section 12, the third vector, cut to 32 bytes: scrypt gives a longer key in steps.
    #[test]
    fn scrypt_is_that_of_its_description() {
        let kdf = Kdf::Scrypt {
            n: 16_384,
            r: 8,
            p: 1,
            dklen: 32,
            salt: "536f6469756d43686c6f72696465".to_owned(),
        };
        let derived = kdf.derive("pleaseletmein").expect("within bounds");
        let expected =
            hex("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2").expect("digits");
        assert_eq!(derived[..], expected[..]);
    }
}
