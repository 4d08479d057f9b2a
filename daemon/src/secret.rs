//! Secrets from the environment.

use std::path::PathBuf;

/// A secret from its variable or from the file that `variable`_FILE names, never both. The last line end of a file does
/// not belong to it.
///
/// # Errors
/// What is wrong and what to do, naming the variable and never the secret.
pub fn secret(variable: &str, value: Option<String>, file: Option<PathBuf>) -> Result<String, String> {
    let secret = match (value, file) {
        (Some(_), Some(_)) => Err(format!("{variable} and {variable}_FILE are both set; keep one")),
        (Some(value), None) => Ok(value),
        (None, Some(file)) => std::fs::read_to_string(&file)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| {
                format!(
                    "{variable}_FILE names {}, which cannot be read: {error}",
                    file.display()
                )
            }),
        (None, None) => Err(format!(
            "{variable} is not set; set it, or {variable}_FILE to a file that holds it"
        )),
    }?;
    if secret.is_empty() {
        return Err(format!("{variable} is empty; choose a password"));
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_from_its_file_without_the_line_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "open sesame\r\n").expect("a file");
        assert_eq!(
            secret("X", None, Some(file.clone())).as_deref(),
            Ok("open sesame")
        );
        let both = secret("X", Some("x".to_owned()), Some(file)).expect_err("two sources");
        assert_eq!(both, "X and X_FILE are both set; keep one");
    }

    #[test]
    fn what_is_missing_or_empty_is_named() {
        let missing = secret("X", None, None).expect_err("none is given");
        assert!(missing.contains("X_FILE"), "{missing}");
        let empty = secret("X", Some(String::new()), None).expect_err("it is empty");
        assert_eq!(empty, "X is empty; choose a password");
        let unreadable = secret("X", None, Some("/nowhere/secret".into())).expect_err("no such file");
        assert!(unreadable.contains("/nowhere/secret"), "{unreadable}");
    }
}
