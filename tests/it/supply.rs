//! What the hub is made of: one TLS and one crypto stack, licences that anybody may take along, and no unsafe code but where
//! its reason stands. `deny.toml` says the same to `cargo deny`, which also looks at advisories; this needs no network.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Other stacks than aws-lc-rs under rustls. A second one would be a second set of holes to keep closed.
const BANNED: [&str; 12] = [
    "ring",
    "openssl",
    "openssl-sys",
    "native-tls",
    "boring",
    "boring-sys",
    "mbedtls",
    "gnutls",
    "rustls-openssl",
    "libsodium-sys",
    "rsa",
    "p256",
];

/// Licences that ask for no more than to be named (SPDX).
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The packages that are built into the hub on whatever system, those that only build or test it left out: each with its
/// version, and its licence.
fn shipped() -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--target",
            "all",
            "--edges",
            "normal",
        ])
        .args(["--prefix", "none", "--format", "{p}|{l}", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let packages = text.lines().filter_map(|line| {
        let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
        Some((package.to_owned(), licence.to_owned()))
    });
    let packages: BTreeMap<String, String> = packages.collect();
    assert!(packages.len() > 50, "{text}");
    packages
}

/// Whether an SPDX expression can be met with these licences. The old `MIT/Apache-2.0` means OR.
fn allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let words = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    // AND of ORs and ORs of ANDs alike: each alternative of each part that must be met, so that none hides behind another.
    words.split(" AND ").all(|part| {
        let mut alternatives = part.split(" OR ");
        alternatives.any(|licence| LICENCES.contains(&licence))
    })
}

#[test]
fn there_is_one_tls_and_one_crypto_stack_and_every_licence_asks_only_to_be_named() {
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (package, licence) in shipped() {
        let (name, _) = package.split_once(' ').expect("a name and a version");
        *names.entry(name.to_owned()).or_default() += 1;
        assert!(!BANNED.contains(&name), "{name} is another stack");
        assert!(allowed(&licence), "{package}: {licence}");
    }
    for one in [
        "rustls",
        "aws-lc-rs",
        "aws-lc-sys",
        "hyper",
        "tokio",
        "serde_json",
    ] {
        assert_eq!(names.get(one), Some(&1), "{one} is there once");
    }
}

#[test]
fn a_licence_is_read_as_it_is_written() {
    for expression in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "ISC AND (Apache-2.0 OR ISC)",
    ] {
        assert!(allowed(expression), "{expression}");
    }
    for expression in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "none",
        "",
        "LGPL-3.0 OR GPL-3.0",
    ] {
        assert!(!allowed(expression), "{expression}");
    }
}

#[test]
fn unsafe_code_is_denied_and_stands_only_where_its_reason_does() {
    const MANIFEST: &str = include_str!("../../Cargo.toml");
    let manifest: toml::Table = MANIFEST.parse().expect("TOML");
    assert_eq!(
        manifest["lints"]["rust"]["unsafe_code"].as_str(),
        Some("deny")
    );
    let mut allowing = BTreeSet::new();
    let mut open = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src"
    ))];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            for (number, line) in lines.iter().enumerate() {
                if line.contains("unsafe {") || line.contains("#[unsafe(") {
                    let before = &lines[number.saturating_sub(6)..number];
                    let reasoned = before.iter().any(|line| line.contains("SAFETY"));
                    assert!(reasoned, "{}:{}: no reason", path.display(), number + 1);
                    allowing.insert(path.file_name().expect("a name").to_owned());
                }
            }
        }
    }
    let allowing: Vec<_> = allowing.iter().map(|name| name.to_string_lossy()).collect();
    assert_eq!(allowing, ["main.rs", "sink.rs"]);
}
