//! The instructions that the demo prints, ready to paste.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::recorder::INTERVAL;
use super::{AGENT, CERTIFICATE, DemoDirectory, PASSWORD};

impl DemoDirectory {
    /// The instructions for a gateway listening on `address`.
    pub(super) fn tour(&self, address: SocketAddr) -> String {
        let (mount, certificate) = (self.mount(), self.directory.join(CERTIFICATE));
        let (mount, certificate) = (mount.display(), certificate.display());
        let (agent, password, folder, interval) =
            (AGENT, PASSWORD, &self.folder, INTERVAL.as_secs());
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
        for name in &self.names {
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
