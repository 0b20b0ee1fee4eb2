// What the fake says, in two languages: codes, headings of tables, states and numbers are the same in both. Text is
// UTF-16 without a mark, or UTF-8 if WSL_UTF8 is 1, and lines end as on Windows.

type Words = Record<"en" | "zh", string>;

const TEXTS = {
  success: { en: "The operation completed successfully. ", zh: "操作成功完成。 " },
  errorCode: { en: "Error code: ", zh: "错误代码: " },
  listHeading: {
    en: "Windows Subsystem for Linux Distributions:",
    zh: "适用于 Linux 的 Windows 子系统分发:",
  },
  default: { en: " (Default)", zh: " (默认值)" },
  noneRunning: { en: "There are no running distributions.", zh: "没有正在运行的分发。" },
  noDistros: {
    en: "Windows Subsystem for Linux has no installed distributions.\nUse 'wsl.exe --list --online' to list available distributions\nand 'wsl.exe --install <Distro>' to install.",
    zh: "适用于 Linux 的 Windows 子系统没有已安装的分发版。\n使用 'wsl.exe --list --online' 列出可用的分发版\n并使用 'wsl.exe --install <Distro>' 进行安装。",
  },
  usage: {
    en: "Copyright (c) Microsoft Corporation. All rights reserved.\nUsage: wsl.exe [Argument] [Options...] [CommandLine]",
    zh: "版权所有 (c) Microsoft Corporation。保留所有权利。\n用法: wsl.exe [参数] [选项...] [命令行]",
  },
  badArgument: { en: "Invalid command line argument: ", zh: "命令行参数无效: " },
  defaultDistro: { en: "Default Distribution: ", zh: "默认分发: " },
  defaultVersion: { en: "Default Version: ", zh: "默认版本: " },
  version: { en: " version: ", zh: " 版本： " },
  twice: {
    en: "The distribution name has already been set.",
    zh: "已设置分发名称。",
  },
  looksLikeVhd: {
    en: "This looks like a VHD file. Use --vhd to import a VHD instead of a tar.",
    zh: "这看起来像一个 VHD 文件。使用 --vhd 导入 VHD 而不是 tar。",
  },
  installing: { en: "Installing: ", zh: "正在安装: " },
  proxy: {
    en: "wsl: A localhost proxy configuration was detected but not mirrored into WSL. WSL in NAT mode does not support localhost proxies.",
    zh: "wsl: 检测到 localhost 代理配置，但未镜像到 WSL。NAT 模式下的 WSL 不支持 localhost 代理。",
  },
  // Messages of errors, by the last segment of their code.
  WSL_E_DISTRO_NOT_FOUND: {
    en: "There is no distribution with the supplied name.",
    zh: "不存在具有所提供名称的分发。",
  },
  WSL_E_DEFAULT_DISTRO_NOT_FOUND: {
    en: "There is no default distribution.",
    zh: "没有默认分发。",
  },
  ERROR_ALREADY_EXISTS: {
    en: "A distribution with the supplied name already exists. Use --name to choose a different name.",
    zh: "具有所提供名称的分发已存在。使用 --name 选择其他名称。",
  },
  ERROR_FILE_EXISTS: {
    en: "The supplied install location is already in use.",
    zh: "提供的安装位置已在使用中。",
  },
  ERROR_FILE_NOT_FOUND: {
    en: "The system cannot find the file specified. ",
    zh: "系统找不到指定的文件。 ",
  },
  ERROR_SHARING_VIOLATION: {
    en: "The process cannot access the file because it is being used by another process. ",
    zh: "另一个程序正在使用此文件，进程无法访问。 ",
  },
  WSL_E_IMPORT_FAILED: { en: "Importing the distribution failed.", zh: "导入分发失败。" },
  WSL_E_NOT_A_LINUX_DISTRO: {
    en: "The imported file is not a valid Linux distribution.",
    zh: "导入的文件不是有效的 Linux 分发。",
  },
  WSL_E_DISTRO_NOT_STOPPED: {
    en: "The operation could not be completed because the VHD is currently in use. To force WSL to stop use: wsl.exe --shutdown",
    zh: "无法完成此操作，因为 VHD 当前正在使用中。若要强制停止 WSL，请使用: wsl.exe --shutdown",
  },
  WSL_E_DISK_CORRUPTED: { en: "The distribution's disk is corrupted.", zh: "分发的磁盘已损坏。" },
  WSL_E_TOO_MANY_DISKS_ATTACHED: {
    en: "Too many disks are attached to the WSL2 virtual machine.",
    zh: "附加到 WSL2 虚拟机的磁盘过多。",
  },
  WSL_E_USER_NOT_FOUND: { en: "User not found.", zh: "找不到用户。" },
  WSL_E_TTY_LIMIT: { en: "The limit of terminals was reached.", zh: "已达到终端数量限制。" },
  WSL_E_LOCAL_SYSTEM_NOT_SUPPORTED: {
    en: "Running WSL as local system is not supported.",
    zh: "不支持以本地系统身份运行 WSL。",
  },
  WSL_E_VM_CRASHED: { en: "The virtual machine crashed.", zh: "虚拟机崩溃。" },
  E_ACCESSDENIED: { en: "Access is denied. ", zh: "拒绝访问。 " },
  E_ILLEGAL_STATE_CHANGE: {
    en: "An install, uninstall, or conversion is in progress for this distribution.",
    zh: "正在对此分发进行安装、卸载或转换。",
  },
  E_UNEXPECTED: { en: "Catastrophic failure ", zh: "灾难性故障 " },
  E_INVALIDARG: { en: "The parameter is incorrect. ", zh: "参数错误。 " },
  "0x80070070": { en: "There is not enough space on the disk. ", zh: "磁盘空间不足。 " },
} satisfies Record<string, Words>;

export type TextName = keyof typeof TEXTS;
const language = process.env.FAKE_WSL_LANGUAGE === "zh" ? "zh" : "en";

export const words = (name: TextName): string => TEXTS[name][language];

/** In wsl.exe's own encoding. */
export function ownBytes(lines: string[]): Buffer {
  const text = lines.map((line) => `${line.replaceAll("\n", "\r\n")}\r\n`).join("");
  return Buffer.from(text, process.env.WSL_UTF8 === "1" ? "utf8" : "utf16le");
}

/** The lines of an error: its message, then its code. */
export function errorLines(code: string, message?: string): string[] {
  const last = code.split("/").at(-1) ?? "";
  const text = message ?? (last in TEXTS ? words(last as TextName) : "");
  return [text, `${words("errorCode")}${code}`];
}
