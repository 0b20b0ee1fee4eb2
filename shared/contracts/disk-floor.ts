// How much of a host's disk stays free, in three steps of one rule: caches give way first, then nothing new begins, and
// at last what has the most of it is ended. On small disks shares of them count instead. Pure.

const FLOOR_BYTES = 1_073_741_824;
const FLOOR_SHARE = 0.05;

/** A host with less free disk than this takes nothing new: work, git's copy of it and the patch would fill it. */
export const diskFloorBytes = (totalBytes: number): number => Math.min(FLOOR_BYTES, FLOOR_SHARE * totalBytes);

/** Caches leave so much free: they give way before the host has too little room to take work. */
export const cacheFloorBytes = (totalBytes: number): number => 2 * diskFloorBytes(totalBytes);

/** Attempts leave so much free; its share of a small disk stands in the guest, which alone sees that one. */
export const ATTEMPT_FLOOR_BYTES = FLOOR_BYTES / 2;
