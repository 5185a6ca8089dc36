//! Runs the checks of the fuzz targets on every input of their corpora, without a fuzzer.

use std::fs;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod checks;

/// Runs a check on every file of the corpus of its target.
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let files: Vec<_> = fs::read_dir(&corpus)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(
        files.len() >= 24,
        "{} has only {} files",
        corpus.display(),
        files.len()
    );
    for file in files {
        let input = fs::read(&file).unwrap();
        if let Err(panic) = std::panic::catch_unwind(|| check(&input)) {
            eprintln!("failing input: {}", file.display());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn the_corpus_of_the_properties_parser_holds() {
    replay("properties", checks::properties);
}

#[test]
fn the_corpus_of_request_heads_and_chunks_holds() {
    replay("request_head_and_chunks", checks::request_head_and_chunks);
}

#[test]
fn the_corpus_of_record_ids_holds() {
    replay("record_id", checks::record_id);
}

#[test]
fn the_corpus_of_ranges_holds() {
    replay("range", checks::range);
}

#[test]
fn the_corpus_of_sign_in_bodies_holds() {
    replay("sign_in_body", checks::sign_in_body);
}

#[test]
fn the_corpus_of_proxy_headers_holds() {
    replay("proxy_header", checks::proxy_header);
}

#[test]
fn the_corpus_of_client_hellos_holds() {
    replay("client_hello", checks::client_hello);
}

#[test]
fn the_corpus_of_certificates_and_keys_holds() {
    replay("key_pair", checks::key_pair);
}

#[test]
fn every_fuzz_target_is_replayed_here() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let here = include_str!("corpora.rs");
    for entry in fs::read_dir(manifest.join("fuzz/targets")).unwrap() {
        let path = entry.unwrap().path();
        let target = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            here.contains(&format!("replay(\"{target}\", checks::{target})")),
            "{target}"
        );
    }
}
