//! The table of interfaces. It is the only place for paths, methods, log names and result codes:
//! the router, the `Allow` header, the log and the documentation use it.

use super::code::ResultCode;
use super::request::Method;

/// The specification of an interface.
#[derive(Debug, Clone, Copy)]
pub struct InterfaceSpec {
    /// Which one it is.
    pub interface: Interface,
    /// The only method it supports, as documented.
    pub method: Method,
    /// The path below the base path. `{id}` is the agent; other names in braces are parameters.
    pub path: &'static str,
    /// The vendor's method name in logs.
    pub log_name: &'static str,
    /// Whether it requires the Guid of the agent's session.
    pub needs_guid: bool,
    /// The result codes it may answer with, in ascending order.
    pub codes: &'static [ResultCode],
    /// What it does, for the documentation.
    pub summary: &'static str,
}

/// The codes of interfaces marked `guid` without a list of their own.
const GUID_CODES: &[ResultCode] = &[
    ResultCode::SUCCESS,
    ResultCode::INVALID_PARAMETER,
    ResultCode::NO_RIGHT,
    ResultCode::NOT_SIGNED_IN,
];

/// The codes of interfaces marked `guid_and_state`, which also need the right state of the agent.
const STATE_CODES: &[ResultCode] = &[
    ResultCode::SUCCESS,
    ResultCode::INVALID_PARAMETER,
    ResultCode::NO_RIGHT,
    ResultCode::NOT_SIGNED_IN,
    ResultCode::WRONG_STATE,
];

macro_rules! interfaces {
    ($($name:ident: $method:ident $path:literal $log_name:literal $access:ident $([$($code:ident)*])? $summary:literal;)*) => {
        /// The interfaces of the gateway.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Interface {
            $(#[doc = $summary] $name,)*
            /// No interface: the path leads nowhere.
            Unknown,
        }

        /// Every interface, in the order of the declaration of [`Interface`].
        pub const INTERFACES: &[InterfaceSpec] = &[$(InterfaceSpec {
            interface: Interface::$name,
            method: Method::$method,
            path: $path,
            log_name: $log_name,
            needs_guid: interfaces!(@needs_guid $access),
            codes: interfaces!(@codes $access $($($code)*)?),
            summary: $summary,
        }),*];
    };
    (@needs_guid open) => { false };
    (@needs_guid $access:ident) => { true };
    (@codes guid) => { GUID_CODES };
    (@codes guid_and_state) => { STATE_CODES };
    (@codes $access:ident $($code:ident)+) => { &[$(ResultCode::$code),+] };
}

interfaces! {
    Login: Put "onlineagent/{id}" "login" open
        [SUCCESS INVALID_PARAMETER BUSY INVALID_SIGN_IN ALREADY_SIGNED_IN WRONG_PASSWORD INTERNAL SIGNING_IN LOCKED]
        "signs in; the Guid is in `Set-GUID`";
    ForceLogin: Put "onlineagent/{id}/forcelogin" "forceLogin" open
        [SUCCESS INVALID_PARAMETER BUSY INVALID_SIGN_IN WRONG_PASSWORD INTERNAL SIGNING_IN LOCKED]
        "signs in and ends an earlier session of the agent";
    Logout: Delete "onlineagent/{id}/logout" "logout" guid
        "signs out";
    ForceLogout: Delete "onlineagent/{id}/forcelogout" "forceLogout" guid
        "signs out";
    ForceLogoutWithReason: Delete "onlineagent/{id}/forcelogoutwithreason/{reason}" "forceLogoutWithReason" guid
        [SUCCESS INVALID_PARAMETER NO_RIGHT INVALID_SIGN_OUT NOT_SIGNED_IN]
        "signs out; the reason is 1 to 255";
    UpdateGuid: Put "onlineagent/{id}/updateGuid" "updateGuid" guid
        "gives another Guid, in `result.guid` and `Set-GUID`";
    Handshake: Post "onlineagent/{id}/handshake" "handShake" guid
        [SUCCESS INVALID_PARAMETER NO_RIGHT INVALID_SIGN_IN NOT_SIGNED_IN]
        "keeps alive; carries a renewed Guid";
    Heartbeat: Put "onlineagent/{id}/heartbeat" "heartBeat" guid
        "keeps alive, the older form";
    GetAgentEvent: Get "agentevent/{id}" "getAgentEvent" guid
        "long poll; keeps alive; carries a renewed Guid and one event";
    ResetSkill: Post "onlineagent/{id}/resetskill/{autoflag}" "resetSkill" guid
        "accepts `skillid` and `phonelinkage`; there are no skills to reset";
    SayFree: Post "onlineagent/{id}/sayfree" "sayFree" guid_and_state
        "makes a busy agent, or one in wrap-up, idle";
    SayBusy: Post "onlineagent/{id}/saybusy" "sayBusy" guid_and_state
        "makes busy; `reason` 200 to 250 and `prolong`, both mandatory for an agent that is busy";
    CancelBusy: Post "onlineagent/{id}/cancelbusy" "cancelBusy" guid_and_state
        "makes a busy agent idle";
    SayWork: Post "onlineagent/{id}/work" "sayWork" guid_and_state
        "begins wrap-up";
    CancelWork: Post "onlineagent/{id}/cancelwork" "cancelWork" guid_and_state
        "ends wrap-up";
    Rest: Post "onlineagent/{id}/rest/{time}/{restcause}" "rest" guid_and_state
        "begins a rest of 1 to 86399 s for a cause of 0 to 255; `prolong` mandatory for an agent that rests";
    CancelRest: Post "onlineagent/{id}/cancelrest" "cancelRest" guid_and_state
        "ends a rest";
    SetAgentAutoEnterIdle: Post "onlineagent/{id}/autoenteridle/{flag}" "setAgentAutoEnterIdle" guid
        "whether the agent is idle after a call: `true` in any case of letters, or not";
    SetAgentAutoAnswer: Post "onlineagent/{id}/autoanswer/{isautoanswer}" "setAgentAutoAnswer" guid
        "accepted, without effect; there are no calls to answer";
    SyncAgentInfo: Post "onlineagent/{id}/syncagentinfo" "syncagentinfo" guid
        "reports the state of the agent and empties its queue of events";
    GetAgentStatus: Get "onlineagent/{id}/agentstatus" "getAgentStatus" guid
        "the state of the agent";
    QueryAgentSkills: Get "onlineagent/{id}/agentskills" "queryAgentSkills" guid
        "the skills of the agent: none";
    QueryAgentSkillsByWorkNo: Get "onlineagent/{id}/agentskillsbyworkno/{workno}" "queryAgentSkillsByWorkNo" guid
        "the skills of another agent: none";
    IsCensor: Get "agentgroup/{id}/iscensor" "isCensor" guid
        "whether the agent is an inspector";
    GetAllStatusAgents: Get "agentgroup/{id}/allagentstatus" "getAllStatusAgents" guid
        "the agents of the VDN who are signed in, with their states";
    QueryAllLoginedAgentInfoOnVdn: Get "agentgroup/{id}/onlineagentonvdn" "queryAllLoginedAgentInfoOnVdn" guid
        "the agents of the VDN who are signed in";
    GetIdleStatusAgents: Get "agentgroup/{id}/idleagent" "getIdleStatusAgents" guid
        "the agents of the VDN who are idle";
    GetAgentRestReason: Get "agentgroup/{id}/restreason" "getAgentRestReason" guid
        "the causes of a rest: none are configured";
    QueryGroupInfoOnVdn: Get "agentgroup/{id}/grouponvdn" "queryGroupInfoOnVdn" guid
        "the groups of the VDN: none";
    QueryGroupInfoByWorkNo: Get "agentgroup/{id}/groupbyagent/{workno}" "queryGroupInfoByWorkNo" guid
        "the group of a signed-in agent of the VDN: 0, which stands for none";
    QueryAllAgentWasNameOnVdn: Get "agentgroup/{id}/agentwasnameonvdn" "queryAllAgentWasNameOnVdn" guid
        "the names of the agents of the VDN who are signed in, by their ids";
    QueryAgentInfoByWorkNo: Get "agentgroup/{id}/agentbyworkno/{workno}" "queryAgentInfoByWorkNo" guid
        "what is known of a signed-in agent of the VDN";
    QueryAllAgentInfoOnMyGroupEx: Get "agentgroup/{id}/agentongroupex" "queryAllAgentInfoOnMyGroupEx" guid
        "what is known of the agents in group `groupid`: in 0, all of the VDN who are signed in; in others nobody";
    QueryAgentInfoWithoutSkills: Post "agentgroup/{id}/agentinfonoskills" "queryAgentInfoWithoutSkills" guid
        "what is known of those agents in `agentlist` of the body who are signed in to the VDN";
    QueryIvrInfoOnVdn: Get "queuedevice/{id}/ivrinfo" "queryIVRInfoOnVdn" guid
        "the IVRs of the VDN: none";
    QuerySkillQueueOnAgentVdn: Get "queuedevice/{id}/agentvdnskill" "querySkillQueueOnAgentVDN" guid
        "the skill queues of the VDN: none";
    QuerySkillQueueOnVdn: Get "queuedevice/{id}/vdnskill/{vdnid}" "querySkillQueueOnVDN" guid
        "the skill queues of a VDN of 1 to 512: none";
    QuerySkillQueueOnAgent: Get "queuedevice/{id}/agentskill/{workno}" "querySkillQueueOnAgent" guid
        "the skill queues of an agent: none";
    QueryStatInfoOfAcd: Post "queuedevice/{id}/queryacdstat" "queryStatInfoOfAcd" guid
        "figures of the skill queues in `skills` of the body: none";
    QueryInNoOnVdn: Get "queuedevice/{id}/innoinfo" "queryInNoOnVDN" guid
        "the access numbers of the VDN: none";
    BeginMonitor: Post "qualitycontrol/{id}/beginmonitor" "beginMonitor" guid
        "accepted, without effect; an agent's events go to that agent alone";
    EndMonitor: Post "qualitycontrol/{id}/endmonitor" "endMonitor" guid
        "accepted, without effect";
    QueryAllMonitoredAgents: Get "qualitycontrol/{id}/allagent" "queryAllMonitoredAgents" guid
        "the agents of the VDN who are signed in, with their states";
    DownloadVideoFileEx: Get "recordfile/{id}/videofiledownloadEx" "downloadVideoFileEx" guid
        [SUCCESS INVALID_PARAMETER NO_RIGHT BUSY NOT_SIGNED_IN NOT_OWN_RECORDING INVALID_RECORD_ID NO_LOCATION
         DOWNLOAD_OFF VIDEO_OFF NO_RECORDING NO_MOUNT MOUNT_LOST UNREADABLE]
        "the video; `recordId`, `locationId` in the query";
    DownloadRecordFile: Get "recordfile/{id}" "downloadRecordFile" guid
        [SUCCESS INVALID_PARAMETER NO_RIGHT BUSY NOT_SIGNED_IN RECORDING_OFF NOT_OWN_RECORDING
         INVALID_RECORD_ID NO_DRIVE NO_AUDIO NOT_AUDIO NO_LOCATION NOT_FETCHED]
        "the voice recording; `recordId`, `filetype` 1 or 2, `locationId` in the query";
    RecordFileDownloadEx: Get "recordfile/{id}/recordfiledownloadEx" "recordfiledownloadEx" guid
        [SUCCESS INVALID_PARAMETER NO_RIGHT BUSY NOT_SIGNED_IN NOT_OWN_RECORDING INVALID_RECORD_ID NO_AUDIO NO_LOCATION
         DOWNLOAD_OFF NO_RECORDING NO_MOUNT MOUNT_LOST UNREADABLE]
        "the video that `hwFileName` names; `callId`, mandatory, and `locationId` in the query";
    GetLocalRecordPath: Get "qualitycontrol/{id}/localrecordpath" "getLocalRecordPath" guid
        [SUCCESS INVALID_PARAMETER NO_RIGHT NOT_SIGNED_IN INTERNAL RECORDING_OFF NOT_OWN_RECORDING
         INVALID_RECORD_ID NO_DRIVE NO_AUDIO NOT_AUDIO NO_LOCATION NOT_FETCHED]
        "a token and a path for the next interface; `recordId`, `locationId` in the query";
    DownloadLocalRecordFile: Get "qualitycontrol/{id}/recordfile" "downloadLocalRecordFile" guid
        [SUCCESS INVALID_PARAMETER NO_RIGHT BUSY NOT_SIGNED_IN RECORDING_OFF NOT_OWN_RECORDING
         INVALID_RECORD_ID NO_DRIVE NO_AUDIO NOT_AUDIO NO_LOCATION NOT_FETCHED]
        "the voice recording; `token`, `localRecordPath` in the query, good once and for 60 s";
    GetConnectToken: Get "recordplay/{id}/getconnecttoken" "getConnectToken" guid
        [INVALID_PARAMETER NO_RIGHT NOT_SIGNED_IN]
        "refused with 000-002: there is no recorder of screens to connect to";
    GetAllAgentEvent: Get "agentevent/allagentevent" "getAllAgentEvent" open
        [WRONG_EVENT_METHOD]
        "refused: events of all agents are for nobody, least of all without a Guid";
    LoginByAccount: Put "onlineagent/loginbyaccount" "loginByAccount" open
        [NO_ACCOUNTS]
        "refused: agents have ids here, and no accounts";
    Health: Get "health" "health" open
        [SUCCESS BUSY MOUNT_LOST]
        "whether this node may be given work: HTTP 200, or 503 while it stops or a mount is lost";
    Metrics: Get "metrics" "metrics" open
        [SUCCESS]
        "counters for Prometheus, for clients on this machine; HTTP 404 for others";
}

impl Interface {
    /// The entry of the interface; `None` for [`Interface::Unknown`].
    pub(crate) fn entry(self) -> Option<&'static InterfaceSpec> {
        INTERFACES.get(self as usize)
    }

    /// The vendor's method name in logs.
    pub(crate) fn log_name(self) -> &'static str {
        self.entry().map_or("unknown", |entry| entry.log_name)
    }

    /// The value of the `Allow` header.
    pub(crate) fn allow(self) -> &'static str {
        match self {
            Interface::Health => "GET, HEAD",
            _ => self.entry().map_or("", |entry| entry.method.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_interfaces_and_names_each_once() {
        for (index, entry) in INTERFACES.iter().enumerate() {
            assert_eq!(entry.interface as usize, index);
            assert_eq!(
                entry.interface.entry().map(|entry| entry.path),
                Some(entry.path)
            );
            let others = &INTERFACES[..index];
            assert!(
                others
                    .iter()
                    .all(|other| other.log_name != entry.log_name && other.path != entry.path)
            );
            assert!(
                entry
                    .codes
                    .windows(2)
                    .all(|pair| pair[0].wire() < pair[1].wire()),
                "{}",
                entry.path
            );
            assert_eq!(
                entry.needs_guid,
                entry.codes.contains(&ResultCode::NO_RIGHT),
                "{}",
                entry.path
            );
        }
        assert_eq!(Interface::Unknown as usize, INTERFACES.len());
    }
    #[test]
    fn what_is_no_interface_is_logged_as_unknown_and_allows_nothing() {
        for (interface, name, allow) in [
            (Interface::Unknown, "unknown", ""),
            (Interface::Handshake, "handShake", "POST"),
            (Interface::Health, "health", "GET, HEAD"),
        ] {
            assert_eq!((interface.log_name(), interface.allow()), (name, allow));
        }
    }
}
