// What takes long to make and is made once, by whoever asks first. A failure is told to those who waited for it, and is
// not kept: the next one who asks has it made anew.

export function madeOnce<Value>(make: () => Promise<Value>): () => Promise<Value> {
  let made: Promise<Value> | null = null;
  return () => {
    const making = (made ??= make());
    making.catch(() => {
      if (made === making) made = null;
    });
    return making;
  };
}
