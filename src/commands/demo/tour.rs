//! The lines that the demo prints, ready to paste.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// What the lines are about.
pub(super) struct Tour<'a> {
    /// The mount of the demo.
    pub(crate) mount: &'a Path,
    /// The certificate to trust.
    pub(crate) certificate: &'a Path,
    /// The agent and its password.
    pub(crate) agent: &'a str,
    pub(crate) password: &'a str,
    /// Below the mount: where the agent's recordings of today lie, and the names of those that are
    /// there.
    pub(crate) folder: &'a str,
    pub(crate) names: &'a [String],
    /// Seconds from one new recording to the next.
    pub(crate) interval: u64,
}

impl Tour<'_> {
    /// The lines for a gateway that listens on `address`.
    pub(super) fn lines(&self, address: SocketAddr) -> String {
        let Tour {
            agent,
            password,
            folder,
            interval,
            ..
        } = self;
        let (mount, certificate) = (self.mount.display(), self.certificate.display());
        let base = format!("https://{address}/agentgateway/resource");
        let curl = format!("curl -sS --cacert {certificate}");
        let json = "-H 'Content-Type: application/json; charset=UTF-8'";
        let guid = r#"-H "Guid: $GUID""#;
        let download = format!("{base}/recordfile/{agent}/videofiledownloadEx?recordId=");
        let mut text = format!(
            r#"
The recordings are in {mount}/{folder}; put others beside them and they are served too.
Every {interval} seconds a new one appears there. They play in any browser.
Paste these lines into another terminal:

# Sign in, and keep the Guid
GUID=$({curl} -D - -o /dev/null -X PUT {json} \
  -d '{{"password":"{password}","phonenum":"40038"}}' \
  {base}/onlineagent/{agent} | tr -d '\r' | sed -n 's/^Set-GUID: JSESSIONID=//p'); echo "$GUID"

# Download what is there
"#
        );
        for name in self.names {
            // Writing to a String cannot fail.
            let _ = write!(
                text,
                "{curl} {guid} {json} -o {name} \\\n  '{download}Y:/{folder}/{name}'\n"
            );
        }
        let _ = write!(
            text,
            r#"
# Poll, which keeps the session alive: an answer brings an event, or none after 10 seconds.
# AgentMediaEvent_Record names the new recording, AgentMediaEvent_StopRecordDone says that it is complete
FILE=; for TRY in 1 2 3 4 5 6 7 8; do
  EVENT=$({curl} {guid} {base}/agentevent/{agent}); echo "$EVENT"
  case $EVENT in
    *'"fileName":"'*) FILE=${{EVENT#*'"fileName":"'}} FILE=${{FILE%%'"'*}} ;;
    *AgentMediaEvent_StopRecordDone*) break ;;
  esac
done

# Download what the event names, and compare everything with the mount
if [ -n "$FILE" ]; then
  {curl} {guid} {json} -o "${{FILE##*/}}" "{download}$FILE"
fi
(cd {mount}/{folder} && sha256sum *) | sha256sum -c --ignore-missing

# Sign out
{curl} -X DELETE {guid} {base}/onlineagent/{agent}/logout; echo

Ctrl-C ends the demo and removes everything.

"#
        );
        text
    }
}
