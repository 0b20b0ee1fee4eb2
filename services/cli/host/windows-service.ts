// The host agent as a Windows service, by WinSW: the file that it reads. It must never hold a password for longer than
// the installation takes. Pure.
import { DESCRIPTION, PlanError, RESTART_SECONDS, STOP_TIMEOUT_MS } from "./plan.ts";
import { xml } from "./xml.ts";

export const SERVICE = "AgentMeshHost";

export interface WinswFile {
  argv: [string, ...string[]];
  folder: string;
  logs: string;
  /** Null once Windows knows it. */
  account: { name: string; password: string } | null;
}

export function winswFile({ argv: [program, ...words], folder, logs, account }: WinswFile): string {
  return `<service>
  <id>${SERVICE}</id>
  <name>agent-mesh host</name>
  <description>${DESCRIPTION}</description>
  <executable>${value(program)}</executable>
${words.map((word) => `  <argument>${value(word)}</argument>`).join("\n")}
  <workingdirectory>${value(folder)}</workingdirectory>
  <startmode>Automatic</startmode>
  <delayedAutoStart>true</delayedAutoStart>
  <depend>WSLService</depend>
${account === null ? "" : accountElement(account)}  <!-- Ctrl+C first, to the agent before what it has started; version 3 does so by itself. -->
  <stopparentprocessfirst>true</stopparentprocessfirst>
  <stoptimeout>${STOP_TIMEOUT_MS / 1_000} sec</stoptimeout>
  <onfailure action="restart" delay="${RESTART_SECONDS} sec"/>
  <resetfailure>1 hour</resetfailure>
  <logpath>${value(logs)}</logpath>
  <log mode="roll-by-size">
    <sizeThreshold>10240</sizeThreshold>
    <keepFiles>4</keepFiles>
  </log>
</service>
`;
}

/** Version 2 reads domain and user, version 3 the name of both; each passes over the other's. */
const accountElement = ({ name, password }: { name: string; password: string }): string => `  <serviceaccount>
    <domain>.</domain>
    <user>${value(name)}</user>
    <username>.\\${value(name)}</username>
    <password>${value(password)}</password>
    <allowservicelogon>true</allowservicelogon>
  </serviceaccount>
`;

/** WinSW puts a variable's value in place of %NAME%, and there is no way to write that otherwise. */
function value(text: string): string {
  if (/%[^%]+%/.test(text))
    throw new PlanError("expected paths, and a password, without two % signs in them");
  return xml(text);
}
