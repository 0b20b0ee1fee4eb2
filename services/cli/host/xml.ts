// Text on its way into XML.

/** Within an element, or an attribute's double quotes. Characters that XML cannot hold are a mistake of the caller. */
export function xml(text: string): string {
  const entities: Record<string, string> = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "'": "&apos;",
  };
  return text.replaceAll(/[&<>"']/g, (character) => entities[character] ?? "");
}
