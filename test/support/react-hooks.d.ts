/** The hooks that the documentation uses, with the types that React declares: React itself is no dependency. */
export function useState<T>(initial: T): readonly [T, (next: T) => void];
export function useEffect(effect: () => undefined | (() => void), dependencies: readonly unknown[]): void;
