/**
 * Milliseconds since some moment before the process started, on a clock that nobody can set. Every duration, wait and time-out of
 * this process is measured with it, because the time of day jumps when a computer corrects its clock or resumes. It means
 * nothing to another process, and stands still while the computer is suspended. For points in time that others know (when a
 * token expires or a session ends), use `Deps.now`.
 */
export const elapsedMs = (): number => performance.now();
