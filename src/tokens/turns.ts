/**
 * `inTurn(id, work)`: works of one id run one after another in the order they came, those of different ids side by
 * side. A work that fails does not hold up the next.
 */
export function createTurns(): <T>(id: string, work: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return function inTurn(id, work) {
    const turn = (last.get(id) ?? Promise.resolve()).then(work);
    const settled = turn
      .catch(() => undefined) // its own caller hears of it
      .then(() => {
        if (last.get(id) === settled) last.delete(id);
      });
    last.set(id, settled);
    return turn;
  };
}
