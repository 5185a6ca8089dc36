//! Stored passwords: salted, slow hashes.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use zeroize::Zeroizing;

use super::hex;

/// Iterations of a new hash.
///
/// 41 ms on a server core with SHA instructions (EPYC; 100 000 take 10.3 ms), about four times that
/// without. With two checks in parallel, a shift change of 1000 agents takes 20 s, while someone
/// who stole the file can try about 25 passwords per second and core.
pub(crate) const DEFAULT_ITERATIONS: u32 = 400_000;

/// Longest password the sign-in interface accepts, in characters.
pub(crate) const PASSWORD_CHARS_MAX: usize = 32;

const SCHEME: &str = "pbkdf2-sha256";
const ALGORITHM: pbkdf2::Algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
const ITERATIONS_MIN: u32 = 1_000;
const ITERATIONS_MAX: u32 = 10_000_000;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// PBKDF2-HMAC-SHA256 of a password, with its salt and number of iterations.
///
/// Written as `pbkdf2-sha256$<iterations>$<salt>$<hash>`, salt and hash in lower-case hex.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash {
    iterations: NonZeroU32,
    salt: Box<[u8]>,
    hash: [u8; HASH_BYTES],
}

impl PasswordHash {
    /// Hashes `password` with a random salt of 16 bytes and [`DEFAULT_ITERATIONS`].
    pub(crate) fn derive(password: &str) -> Result<PasswordHash, DeriveError> {
        if password.is_empty() {
            return Err(DeriveError::Empty);
        }
        if password.contains('\0') {
            return Err(DeriveError::Nul);
        }
        if password.chars().count() > PASSWORD_CHARS_MAX {
            return Err(DeriveError::TooLong);
        }
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(DeriveError::Random)?;
        Ok(PasswordHash::with_salt(password, &salt, DEFAULT_ITERATIONS))
    }

    /// Parses the stored form. Errors never repeat any part of the value.
    ///
    /// Iterations are 1 000 to 10 000 000, the salt has 8 to 64 bytes, the hash 32.
    pub(crate) fn parse(text: &str) -> Result<PasswordHash, &'static str> {
        let fields: Vec<_> = text.splitn(5, '$').collect();
        let [scheme, iterations, salt, hash] = *fields else {
            return Err("is not of the form pbkdf2-sha256$<iterations>$<salt>$<hash>");
        };
        if scheme != SCHEME {
            return Err("does not begin with pbkdf2-sha256$");
        }
        let iterations = Some(iterations)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|count| (ITERATIONS_MIN..=ITERATIONS_MAX).contains(count))
            .and_then(NonZeroU32::new)
            .ok_or("has a number of iterations outside 1000 to 10000000")?;
        let salt = hex::parse(salt)
            .filter(|salt| (8..=64).contains(&salt.len()))
            .ok_or("has a salt that is not 8 to 64 bytes in lower-case hex")?;
        let hash = hex::parse(hash)
            .and_then(|hash| hash.try_into().ok())
            .ok_or("has a hash that is not 32 bytes in lower-case hex")?;
        Ok(PasswordHash {
            iterations,
            salt: salt.into(),
            hash,
        })
    }

    /// Whether `password` matches. The hashes are compared in constant time.
    pub(crate) fn verify(&self, password: &str) -> bool {
        let same = pbkdf2::verify(
            ALGORITHM,
            self.iterations,
            &self.salt,
            password.as_bytes(),
            &self.hash,
        )
        .is_ok();
        // HMAC pads its key with zeros, so "a" and "a\0" have the same hash.
        same && !password.contains('\0')
    }

    /// Like [`verify`](Self::verify), but costs at least `iterations`: the rest is spent on a
    /// second derivation.
    pub(super) fn verify_padded(&self, password: &str, iterations: u32) -> bool {
        let is_right = self.verify(password);
        if let Some(missing) = self.missing(iterations) {
            let mut hash = Zeroizing::new([0; HASH_BYTES]);
            pbkdf2::derive(
                ALGORITHM,
                missing,
                &self.salt,
                password.as_bytes(),
                hash.as_mut_slice(),
            );
            // Keeps the compiler from removing the derivation.
            std::hint::black_box(&hash);
        }
        is_right
    }

    /// How many iterations to add for a check to cost `iterations`.
    fn missing(&self, iterations: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(
            iterations
                .min(ITERATIONS_MAX)
                .saturating_sub(self.iterations()),
        )
    }

    /// The iteration count, to which the cost of a check is proportional.
    pub(crate) fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    /// A hash that matches no password, with `iterations` bounded as in [`parse`](Self::parse).
    /// Unknown agents are checked against it, so that they take as long as known ones.
    pub(super) fn dummy(iterations: u32) -> PasswordHash {
        let iterations = iterations.clamp(ITERATIONS_MIN, ITERATIONS_MAX);
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        PasswordHash {
            iterations,
            salt: [0; SALT_BYTES].into(),
            hash: [0; HASH_BYTES],
        }
    }

    fn with_salt(password: &str, salt: &[u8], iterations: u32) -> PasswordHash {
        let mut made = PasswordHash {
            salt: salt.into(),
            ..PasswordHash::dummy(iterations)
        };
        pbkdf2::derive(
            ALGORITHM,
            made.iterations,
            salt,
            password.as_bytes(),
            &mut made.hash,
        );
        made
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = format!("{SCHEME}${}$", self.iterations);
        hex::push(&mut text, &self.salt);
        text.push('$');
        hex::push(&mut text, &self.hash);
        f.write_str(&text)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(secret)")
    }
}

/// Why a password cannot be hashed.
#[derive(Debug)]
pub(crate) enum DeriveError {
    /// It is empty; the agents file has `no-password` for that.
    Empty,
    /// It is longer than [`PASSWORD_CHARS_MAX`], so no client could sign in with it.
    TooLong,
    /// It contains NUL, which HMAC does not distinguish from the end of the password.
    Nul,
    /// The system random generator failed.
    Random(getrandom::Error),
}

impl fmt::Display for DeriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeriveError::Empty => f.write_str(
                "the password is empty; for an agent whose client sends the empty password write no-password in place \
                 of a value, for example `1001 = no-password`",
            ),
            DeriveError::TooLong => write!(f, "the password is longer than {PASSWORD_CHARS_MAX} characters"),
            DeriveError::Nul => f.write_str("the password contains a NUL character"),
            DeriveError::Random(error) => write!(f, "the system gave no random salt: {error}"),
        }
    }
}

impl std::error::Error for DeriveError {}

/// What an agent must present to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// A password that hashes to this.
    Hash(PasswordHash),
    /// Only the empty password: vendor clients send `""` where passwords are not in use.
    EmptyOnly,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_password_verifies_against_its_own_hash_only() {
        let stored =
            PasswordHash::with_salt("s3cret \u{e9}", b"0123456789abcdef", 1_000).to_string();
        let hash = PasswordHash::parse(&stored).unwrap();
        for (password, right) in [
            ("s3cret \u{e9}", true),
            ("s3cret e", false),
            ("", false),
            ("s3cret \u{e9}\0", false),
        ] {
            assert_eq!(hash.verify(password), right, "{password:?}");
        }
    }

    #[test]
    fn a_hash_made_by_another_implementation_verifies() {
        // From Python's hashlib.pbkdf2_hmac.
        let stored = "pbkdf2-sha256$1000$00112233445566778899aabbccddeeff$\
                      dbf4dafdb4218fa3b899443e28ee77785e670aa8291422bb0d4edb0f624628ba";
        assert!(PasswordHash::parse(stored).unwrap().verify("swordfish"));
    }

    #[test]
    fn the_salt_makes_equal_passwords_differ() {
        let (one, other) = (
            PasswordHash::derive("password").unwrap(),
            PasswordHash::derive("password").unwrap(),
        );
        assert_eq!(one.iterations(), DEFAULT_ITERATIONS);
        assert_ne!(one, other);
    }

    #[test]
    fn passwords_that_no_client_can_use_are_not_hashed() {
        assert!(matches!(PasswordHash::derive(""), Err(DeriveError::Empty)));
        assert!(matches!(
            PasswordHash::derive(&"\u{e9}".repeat(33)),
            Err(DeriveError::TooLong)
        ));
        assert!(matches!(PasswordHash::derive("a\0"), Err(DeriveError::Nul)));
        assert!(
            DeriveError::Empty
                .to_string()
                .contains("`1001 = no-password`")
        );
    }

    #[test]
    fn a_cheap_hash_is_padded_to_the_usual_cost_and_a_dear_one_is_not() {
        let hash = PasswordHash::with_salt("a", b"0123456789abcdef", 2_000);
        for (usual, missing) in [
            (0, None),
            (1_999, None),
            (2_000, None),
            (2_001, Some(1)),
            (u32::MAX, Some(9_998_000)),
        ] {
            assert_eq!(hash.missing(usual).map(NonZeroU32::get), missing, "{usual}");
        }
        assert!(hash.verify_padded("a", 3_000) && !hash.verify_padded("b", 3_000));
    }

    #[test]
    fn a_dummy_hash_does_not_match_the_empty_password() {
        assert!(!PasswordHash::dummy(0).verify(""));
        assert_eq!(PasswordHash::dummy(0).iterations(), ITERATIONS_MIN);
        assert_eq!(PasswordHash::dummy(u32::MAX).iterations(), ITERATIONS_MAX);
    }

    #[test]
    fn a_stored_form_outside_the_bounds_is_refused_without_being_repeated() {
        let (salt, hash) = ("00112233445566778899aabbccddeeff", "ab".repeat(32));
        let long = "00".repeat(65);
        let good = format!("pbkdf2-sha256$1000${salt}${hash}");
        assert_eq!(PasswordHash::parse(&good).unwrap().to_string(), good);
        for bad in [
            String::new(),
            "secret".to_owned(),
            format!("{good}$"),
            format!(" {good}"),
            format!("PBKDF2-SHA256$1000${salt}${hash}"),
            format!("pbkdf2-sha512$1000${salt}${hash}"),
            format!("pbkdf2-sha256$999${salt}${hash}"),
            format!("pbkdf2-sha256$10000001${salt}${hash}"),
            format!("pbkdf2-sha256$+1000${salt}${hash}"),
            format!("pbkdf2-sha256$$${salt}${hash}"),
            format!("pbkdf2-sha256$99999999999${salt}${hash}"),
            format!("pbkdf2-sha256$1000$00112233445566${hash}"),
            format!("pbkdf2-sha256$1000${long}${hash}"),
            format!("pbkdf2-sha256$1000${salt}${}", &hash[2..]),
            format!("pbkdf2-sha256$1000${salt}${}", hash.to_uppercase()),
        ] {
            let reason = PasswordHash::parse(&bad).unwrap_err();
            assert!(
                !reason.contains(salt) && !reason.contains(&hash),
                "{reason}"
            );
        }
        assert_eq!(
            format!("{:?}", PasswordHash::parse(&good).unwrap()),
            "PasswordHash(secret)"
        );
    }

    proptest! {
        #[test]
        fn any_stored_text_is_survived(text in "(pbkdf2-sha256)?[$0-9a-f]{0,40}") {
            let _ = PasswordHash::parse(&text);
        }
    }
}
