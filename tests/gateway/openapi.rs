//! Generates `docs/openapi.yaml` from the table of interfaces. packaging/test-openapi checks a
//! gateway against the document.

use std::fmt::Write as _;

use cc_gateway::api::{INTERFACES, Interface, InterfaceSpec};

use crate::support::is_current;

/// Schemas of `result` that several interfaces share, in the flow style of YAML.
const EMPTY_OBJECT: &str = "{type: object, maxProperties: 0}";
const EMPTY_LIST: &str = "{type: array, maxItems: 0}";

/// The reply to a request that succeeds.
enum Success {
    /// JSON without a result.
    Plain,
    /// JSON with a result of this schema.
    Result(String),
    /// JSON with an event, or without one.
    Event,
    /// A recording, whole or a part of it.
    Recording,
    /// Text for Prometheus.
    Text,
    /// None; the interface refuses every request.
    Never,
}

fn object(fields: &[(&str, &str)]) -> String {
    let required: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    let properties: Vec<_> = fields
        .iter()
        .map(|(name, schema)| format!("{name}: {schema}"))
        .collect();
    format!(
        "{{type: object, additionalProperties: false, required: [{}], properties: {{{}}}}}",
        required.join(", "),
        properties.join(", ")
    )
}

fn list_of(fields: &[(&str, &str)]) -> String {
    format!("{{type: array, items: {}}}", object(fields))
}

/// The members that describe an agent, with or without skills.
fn agent_info(skills: Option<(&'static str, &'static str)>) -> Vec<(&'static str, &'static str)> {
    let (text, number) = ("{type: string}", "{type: integer}");
    let who = [
        ("workno", text),
        ("name", text),
        ("status", number),
        ("ctiStatus", number),
        ("groupid", number),
    ];
    let calls = [("groupname", text)]
        .into_iter()
        .chain(skills)
        .chain([("callids", EMPTY_LIST), ("mediatype", text)]);
    let rest = [
        ("phonenumber", text),
        ("vdnid", number),
        ("currentstatetime", number),
        ("logindate", number),
    ];
    who.into_iter().chain(calls).chain(rest).collect()
}

fn success(log_name: &str) -> Success {
    let (text, number, boolean) = ("{type: string}", "{type: integer}", "{type: boolean}");
    let agent = [("workno", text), ("name", text)];
    let result = match log_name {
        "login" | "forceLogin" => object(&[
            ("vdnid", number),
            ("workno", text),
            ("mediatype", text),
            ("loginTime", text),
            ("isForceChange", text),
            ("serverName", text),
            ("timeRemaining", text),
        ]),
        "updateGuid" => object(&[("guid", text)]),
        "heartBeat" => object(&[("loginTime", text)]),
        "resetSkill"
        | "sayFree"
        | "sayBusy"
        | "cancelBusy"
        | "sayWork"
        | "cancelWork"
        | "rest"
        | "cancelRest"
        | "setAgentAutoEnterIdle"
        | "setAgentAutoAnswer"
        | "beginMonitor"
        | "endMonitor" => EMPTY_OBJECT.to_owned(),
        // It has some thirty members, of which a gateway without calls fills five.
        "syncagentinfo" => "{type: object, required: [callinfo, agentStateInfo]}".to_owned(),
        "getAgentStatus" => object(&[("agentState", number), ("isWorking", boolean)]),
        "isCensor" => boolean.to_owned(),
        "queryAgentSkills"
        | "queryAgentSkillsByWorkNo"
        | "getAgentRestReason"
        | "queryGroupInfoOnVdn"
        | "queryIVRInfoOnVdn"
        | "querySkillQueueOnAgentVDN"
        | "querySkillQueueOnVDN"
        | "querySkillQueueOnAgent"
        | "queryStatInfoOfAcd"
        | "queryInNoOnVDN" => EMPTY_LIST.to_owned(),
        "getAllStatusAgents" => list_of(&[
            agent[0],
            agent[1],
            ("status", number),
            ("ctiStatus", number),
            ("groupName", text),
        ]),
        "queryAllLoginedAgentInfoOnVdn" => list_of(&[agent[0], agent[1], ("groupid", number)]),
        "getIdleStatusAgents" => list_of(&agent),
        "queryGroupInfoByWorkNo" => object(&[
            ("id", number),
            ("name", text),
            ("monitorno", number),
            ("monitorname", text),
        ]),
        "queryAllAgentWasNameOnVdn" => format!("{{type: object, additionalProperties: {text}}}"),
        "queryAgentInfoByWorkNo" => object(&agent_info(Some(("skilllist", EMPTY_LIST)))),
        "queryAllAgentInfoOnMyGroupEx" => list_of(&agent_info(Some(("skilllist", EMPTY_LIST)))),
        "queryAgentInfoWithoutSkills" => list_of(&agent_info(None)),
        "queryAllMonitoredAgents" => list_of(&[agent[0], agent[1], ("status", number)]),
        "getLocalRecordPath" => object(&[("token", text), ("localRecordPath", text)]),
        "logout" | "forceLogout" | "forceLogoutWithReason" | "handShake" | "health" => {
            return Success::Plain;
        }
        "getAgentEvent" => return Success::Event,
        "downloadVideoFileEx"
        | "recordfiledownloadEx"
        | "downloadRecordFile"
        | "downloadLocalRecordFile" => {
            return Success::Recording;
        }
        "metrics" => return Success::Text,
        "getConnectToken" | "getAllAgentEvent" | "loginByAccount" => return Success::Never,
        other => panic!("what does {other} answer?"),
    };
    Success::Result(result)
}

/// The query parameters of an interface. All others are ignored.
fn query(log_name: &str) -> &'static [&'static str] {
    match log_name {
        "resetSkill" => &["skillid", "phonelinkage"],
        "sayBusy" => &["reason", "prolong"],
        "rest" => &["prolong"],
        "queryAllAgentInfoOnMyGroupEx" => &["groupid"],
        "downloadVideoFileEx" => &["recordId", "locationId"],
        "recordfiledownloadEx" => &["callId", "hwFileName", "locationId"],
        "downloadRecordFile" => &["recordId", "filetype", "locationId"],
        "getLocalRecordPath" => &["recordId", "locationId"],
        "downloadLocalRecordFile" => &["token", "localRecordPath"],
        _ => &[],
    }
}

const HEAD: &str = r##"# Made from the table of interfaces in src/api/interfaces.rs; see tests/gateway/openapi.rs.
openapi: 3.1.0
info:
  title: cc-gateway
  version: VERSION
  license: {name: MIT OR Apache-2.0, identifier: MIT OR Apache-2.0}
  description: >-
    Agents sign in, poll and download the recordings of their calls. A result code travels in HTTP 200; docs/api.md explains
    the codes, the renewal of Guids and the order of checks.
servers:
  - url: https://localhost:8043/agentgateway/resource
components:
  securitySchemes:
    Guid:
      type: apiKey
      in: header
      name: Guid
      description: From Set-GUID of the sign-in, and renewed by later answers; what follows JSESSIONID=.
  schemas:
    HttpError:
      type: object
      required: [retcode, message]
      properties: {retcode: {type: string}, message: {type: string}}
      additionalProperties: false
    SignIn:
      type: object
      description: Whatever else is in it is ignored.
      properties:
        password: {type: string}
        phonenum: {type: string}
        status: {type: integer}
        ip: {type: string}
    Agents:
      type: object
      required: [agentlist]
      properties: {agentlist: {type: array, items: {type: string}}}
    Skills:
      type: object
      required: [skills]
      properties: {skills: {type: array, items: {type: string}}}
  headers:
    SetGuid:
      description: JSESSIONID= and the Guid to be sent from now on.
      schema: {type: string, pattern: "^JSESSIONID="}
  responses:
    HttpError:
      description: The request breaks the rules of HTTP, or a limit.
      content: {application/json: {schema: {$ref: "#/components/schemas/HttpError"}}}
    NotHere:
      description: The method is another one; Allow names it.
      headers: {Allow: {required: true, schema: {type: string}}}
      content: {application/json: {schema: {$ref: "#/components/schemas/HttpError"}}}
    Busy:
      description: Too much at once, or this node is not in service.
      content: {application/json: {schema: {$ref: "#/components/schemas/HttpError"}}}
paths:
"##;

fn operation(text: &mut String, entry: &InterfaceSpec) {
    let name = entry.log_name;
    let mut line = |indent: usize, line: &str| {
        let _ = writeln!(text, "{:indent$}{line}", "");
    };
    line(4, &format!("{}:", entry.method.name().to_ascii_lowercase()));
    line(6, &format!("operationId: {name}"));
    line(
        6,
        &format!("summary: '{}'", entry.summary.replace('\'', "''")),
    );
    if entry.needs_guid {
        line(6, "security: [{Guid: []}]");
    }
    let parameters: Vec<_> = entry
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .collect();
    if !parameters.is_empty() || !query(name).is_empty() {
        line(6, "parameters:");
    }
    for parameter in parameters {
        let (schema, example) = match parameter {
            "id" | "workno" => ("{type: integer, minimum: 101, maximum: 999999}", "101"),
            "flag" | "isautoanswer" | "autoflag" => ("{type: string}", "'true'"),
            _ => ("{type: integer}", "1"),
        };
        line(
            8,
            &format!(
                "- {{name: {parameter}, in: path, required: true, schema: {schema}, example: {example}}}"
            ),
        );
    }
    for parameter in query(name) {
        let example = match (*parameter, name) {
            ("recordId", "downloadVideoFileEx") | ("hwFileName", _) => {
                ", example: 'Y:/1/0/20201202/101/1.mp4'"
            }
            ("recordId", _) => ", example: 'Y:/1/0/20201202/101/1.v3'",
            _ => "",
        };
        line(
            8,
            &format!("- {{name: {parameter}, in: query, schema: {{type: string}}{example}}}"),
        );
    }
    let body = match entry.interface {
        Interface::Login | Interface::ForceLogin => Some("SignIn"),
        Interface::QueryAgentInfoWithoutSkills => Some("Agents"),
        Interface::QueryStatInfoOfAcd => Some("Skills"),
        _ => None,
    };
    if let Some(body) = body {
        line(6, "requestBody:");
        line(8, "required: true");
        line(
            8,
            &format!(
                "content: {{application/json: {{schema: {{$ref: \"#/components/schemas/{body}\"}}}}}}"
            ),
        );
    }
    line(6, "responses:");
    line(8, "'200':");
    let description = if matches!(success(name), Success::Recording) {
        "the recording, or a failure"
    } else {
        "the answer"
    };
    line(10, &format!("description: {description}"));
    if entry.needs_guid || !matches!(entry.interface, Interface::Health | Interface::Metrics) {
        line(
            10,
            "headers: {Set-GUID: {$ref: \"#/components/headers/SetGuid\"}}",
        );
    }
    line(10, "content:");
    let failures: Vec<_> = entry
        .codes
        .iter()
        .map(|code| code.wire())
        .filter(|code| *code != "0")
        .collect();
    let failure = format!(
        "{{type: object, additionalProperties: false, required: [retcode, message], properties: {{retcode: {{enum: ['{}']}}, \
         message: {{type: string}}, result: {{enum: ['', {{}}]}}}}}}",
        failures.join("', '")
    );
    let done = |extra: &str, required: &str| {
        format!(
            "{{type: object, additionalProperties: false, required: [retcode, message{required}], properties: {{retcode: \
             {{const: '0'}}, message: {{type: string}}{extra}}}}}"
        )
    };
    let json = match success(name) {
        Success::Plain => Some(done("", "")),
        Success::Result(schema) => Some(done(&format!(", result: {schema}"), ", result")),
        Success::Event => {
            let event = "{type: object, required: [eventType, eventGenTime, workNo, content], properties: {eventType: \
                         {type: string}, eventGenTime: {type: integer}, workNo: {type: string}, content: {}}}";
            Some(done(&format!(", event: {event}"), ""))
        }
        Success::Recording | Success::Text | Success::Never => None,
    };
    if matches!(success(name), Success::Text) {
        line(12, "text/plain: {schema: {type: string}}");
    } else {
        let schemas: Vec<_> = json
            .into_iter()
            .chain((!failures.is_empty()).then_some(failure))
            .collect();
        line(12, "application/json:");
        line(14, "schema:");
        line(16, "anyOf:");
        schemas
            .iter()
            .for_each(|schema| line(18, &format!("- {schema}")));
    }
    if matches!(success(name), Success::Recording) {
        // Not the type of the video, so that browsers save it.
        line(
            12,
            "application/octet-stream: {schema: {type: string, format: binary}}",
        );
        for (status, what) in [
            ("206", "a part of the recording"),
            ("412", "a precondition fails"),
            ("416", "no such part"),
        ] {
            line(8, &format!("'{status}': {{description: {what}}}"));
        }
    }
    line(8, "'405': {$ref: \"#/components/responses/NotHere\"}");
    for status in ["400", "408", "413", "414", "431", "501"] {
        line(
            8,
            &format!("'{status}': {{$ref: \"#/components/responses/HttpError\"}}"),
        );
    }
    if entry.interface == Interface::Metrics {
        line(8, "'404': {$ref: \"#/components/responses/HttpError\"}");
    }
    line(8, "'503': {$ref: \"#/components/responses/Busy\"}");
}

fn document() -> String {
    let mut text = HEAD.replace("VERSION", env!("CARGO_PKG_VERSION"));
    let mut paths: Vec<_> = INTERFACES.iter().map(|entry| entry.path).collect();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let _ = writeln!(text, "  /{path}:");
        INTERFACES
            .iter()
            .filter(|entry| entry.path == path)
            .for_each(|entry| operation(&mut text, entry));
    }
    text
}

#[test]
fn the_openapi_document_is_current() {
    is_current("docs/openapi.yaml", &document());
}
