use super::*;
use proptest::prelude::*;
use std::time::{Duration, Instant};

const HASH: &str = "pbkdf2-sha256$1000$00112233445566778899aabbccddeeff$\
                    dbf4dafdb4218fa3b899443e28ee77785e670aa8291422bb0d4edb0f624628ba";

fn read(text: &str) -> Result<(Roster, Vec<Problem>), Vec<Problem>> {
    Roster::from_text(text, Path::new("agents.properties"), 59_999)
}

fn id(text: &str) -> AgentId {
    AgentId::parse(text, 59_999).unwrap()
}

fn shown(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn agents_have_a_password_a_role_and_a_vdn() {
    let text = format!(
        "# shift A\n1001.role = inspector \n1001 = {HASH} \n1002 = no-password \n1002.vdn: 7\n"
    );
    let (roster, _) = read(&text).unwrap();
    assert_eq!(roster.len(), 2);
    let inspector = roster.agent(id("1001")).unwrap();
    assert!(matches!(&inspector.credential, Credential::Hash(hash) if hash.verify("swordfish")));
    assert_eq!((inspector.role, inspector.vdn), (Role::Inspector, 1));
    let open = Agent {
        credential: Credential::EmptyOnly,
        role: Role::Agent,
        vdn: 7,
    };
    assert_eq!(roster.agent(id("1002")), Some(&open));
    assert_eq!(roster.agent(id("1004")), None);
}

#[test]
fn an_agent_without_a_value_is_a_mistake_with_its_remedy() {
    for text in [
        "1001",
        "1001 =",
        "1001 = \n",
        "1001 = \\u0020",
        "1002 = no-password\n1001 =",
        "1001:",
        "1001 = \\\n",
    ] {
        let problems = shown(&read(text).unwrap_err());
        assert_eq!(problems.len(), 1, "{text:?}: {problems:?}");
        assert!(
            problems[0].contains(
                ": 1001: there is no value; write what `cc-gateway hash-password` prints"
            )
        );
        assert!(
            problems[0].contains("no-password for an agent"),
            "{problems:?}"
        );
    }
}

#[test]
fn each_agent_without_a_password_is_named_once() {
    let text = format!(
        "1005=no-password\n1001={HASH}\n1003=no-password\n1002=no-password\n1007=no-password\n1004=no-password\n"
    );
    let warnings = shown(&read(&text).unwrap().1);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].starts_with("agents.properties: no password is asked of these agents"),
        "{warnings:?}"
    );
    assert!(
        warnings[0].contains(": 1002-1005, 1007; where"),
        "{warnings:?}"
    );
    let many: String = (0..150)
        .map(|nth| format!("{} = no-password\n", 1001 + 2 * nth))
        .collect();
    let warnings = shown(&read(&many).unwrap().1);
    assert_eq!(warnings.len(), 2);
    for nth in 0..150 {
        let id = (1001 + 2 * nth).to_string();
        assert_eq!(
            warnings
                .iter()
                .map(|warning| warning.matches(&id).count())
                .sum::<usize>(),
            1,
            "{id}"
        );
    }
    assert_eq!(read(&format!("1001={HASH}")).unwrap().1, []);
}

#[test]
fn each_problem_names_file_line_and_key() {
    const FIRST_AGENT: &str = "1001 = no-password\n";
    for (text, expected) in [
        (
            "\n1001.rol = inspector",
            "agents.properties:3: 1001: the key does not end in .role or .vdn",
        ),
        (
            "1001.role = boss",
            "agents.properties:2: 1001.role: is neither agent nor inspector",
        ),
        (
            "1001.vdn = +1",
            "agents.properties:2: 1001.vdn: is not a number",
        ),
        (
            "1001.vdn =",
            "agents.properties:2: 1001.vdn: is not a number",
        ),
        (
            "1002.role = agent",
            "agents.properties:2: 1002.role: there is no agent 1002",
        ),
        (
            "100 =",
            "agents.properties:2: 100: the key is not an agent id from 101 to 59999",
        ),
        (
            "60000 =",
            "agents.properties:2: 60000: the key is not an agent id",
        ),
        (
            "01001 =",
            "agents.properties:2: 01001: the key is not an agent id",
        ),
        ("= x", "agents.properties:2: the key is not an agent id"),
        ("1002 = \\uzzzz", "agents.properties:2: \\u is not followed"),
        (
            "1002 = swordfish",
            "agents.properties:2: 1002: the value is not of the form",
        ),
        (
            "1002 = No-Password",
            "agents.properties:2: 1002: the value is not of the form",
        ),
    ] {
        let problems = shown(&read(&format!("{FIRST_AGENT}{text}")).unwrap_err());
        assert_eq!(problems.len(), 1, "{text:?}: {problems:?}");
        assert!(problems[0].starts_with(expected), "{text:?}: {problems:?}");
    }
}

#[test]
fn all_problems_are_reported_in_order_of_their_lines() {
    let problems =
        read("1001.role = boss\n1002 = x\n1002.vdn = 3\n1001 = no-password\n1 =").unwrap_err();
    assert_eq!(
        problems
            .iter()
            .map(|problem| problem.line.unwrap())
            .collect::<Vec<_>>(),
        [1, 2, 5]
    );
    assert_eq!(
        read(&"junk = x\n".repeat(1000)).unwrap_err().len(),
        PROBLEMS_MAX
    );
}

#[test]
fn no_problem_repeats_a_secret() {
    let (salt, hash) = ("00112233445566778899aabbccddeeff", "dbf4dafdb4218fa3");
    for text in [
        format!("1001 = {HASH}0"),
        format!("1001 = swordfish{salt}"),
        format!("{HASH} = 1001"),
        format!("1001 = no-password\n1001.role = {HASH}"),
        format!("1001 = no-password\n1001.vdn = {HASH}"),
        "swordfish = 1001".to_owned(),
        "swordfish.role = 1001".to_owned(),
        "1001.swordfish = 1001".to_owned(),
        "swordfish\nswordfish\n".to_owned(),
        "1001 swordfish".to_owned(),
        "# wrapped\n1001 = pbkdf2-sha256$1000$00112233445566778899aabb\nccddeeff$dbf4dafdb4218fa3\n".to_owned(),
        format!("1001 = pbkdf2-sha256$1000${salt}$\n{}", HASH.rsplit('$').next().unwrap()),
        // Key and value swapped, with a password of digits that is not a valid agent id.
        "271828 = 1001\n".to_owned(),
        "271828 1001\n".to_owned(),
    ] {
        let problems = format!("{:?}", read(&text).unwrap_err());
        for secret in [salt, hash, "swordfish", "ccddeeff", "271828"] {
            assert!(!problems.contains(secret), "{text:?}: {problems}");
        }
    }
}

#[test]
fn the_last_of_several_lines_counts_and_a_warning_says_so() {
    let (roster, warnings) = read(&format!(
        "1001 = no-password\n1001.vdn=2\n1001 = {HASH}\n1001.vdn=3\n"
    ))
    .unwrap();
    assert_eq!(roster.agent(id("1001")).map(|agent| agent.vdn), Some(3));
    assert_eq!(
        shown(&warnings),
        [
            "agents.properties:3: 1001: repeats line 1; this line is in force",
            "agents.properties:4: 1001.vdn: repeats line 2; this line is in force",
        ]
    );
}

#[test]
fn who_is_removed_or_has_another_password_or_role_is_revoked() {
    let other = HASH.replace("$1000$", "$2000$");
    let old = format!("1001={HASH}\n1002={HASH}\n1003={HASH}\n1004={HASH}\n1005={HASH}\n");
    let new = format!(
        "1001={HASH}\n1002={other}\n1003={HASH}\n1003.role=inspector\n1004={HASH}\n1004.vdn=2\n1006={HASH}\n"
    );
    let (old, new) = (read(&old).unwrap().0, read(&new).unwrap().0);
    assert_eq!(old.revoked_by(&new), [id("1002"), id("1003"), id("1005")]);
    assert_eq!(new.revoked_by(&old), [id("1002"), id("1003"), id("1006")]);
    assert_eq!(old.revoked_by(&old), []);
}

#[test]
fn the_usual_iterations_are_those_of_most_passwords() {
    let other = HASH.replace("$1000$", "$2000$");
    for (text, expected) in [
        (String::new(), DEFAULT_ITERATIONS),
        ("1001 = no-password".to_owned(), DEFAULT_ITERATIONS),
        (format!("1001={HASH}\n1002={HASH}\n1003={other}"), 1000),
        (format!("1001={HASH}\n1002={other}"), 2000),
    ] {
        assert_eq!(
            read(&text).unwrap().0.usual_iterations(),
            expected,
            "{text}"
        );
    }
}

#[test]
fn a_thousand_agents_are_read_without_hashing_anything() {
    let text: String = (1001..2001)
        .map(|id| format!("{id} = {}\n", HASH.replace("$1000$", "$10000000$")))
        .collect();
    let start = Instant::now();
    assert_eq!(read(&text).unwrap().0.len(), 1000);
    // Checking one of these hashes takes a second, so all would take a quarter of an hour.
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem_of_that_file() {
    let folder = std::env::temp_dir().join(format!("cc-gateway-roster-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let fifo = folder.join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let large = folder.join("large");
    std::fs::File::create(&large)
        .unwrap()
        .set_len(FILE_BYTES_MAX + 1)
        .unwrap();
    let fixed = [
        "/nonexistent/agents.properties",
        "/",
        "/dev/null",
        "/dev/zero",
    ]
    .map(Path::new);
    for path in fixed.into_iter().chain([&*fifo, &*large]) {
        let problems = shown(&Roster::read(path, 59_999).unwrap_err());
        assert!(
            problems.len() == 1 && problems[0].starts_with(&*path.to_string_lossy()),
            "{problems:?}"
        );
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "([0-9]{3,5}|1001)?(\\.(role|vdn|x))?[ =:\\\\\n]{0,3}[ -~\n]{0,20}") {
        let _ = read(&text);
    }
}
