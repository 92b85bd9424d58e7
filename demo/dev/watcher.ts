import { relative } from 'node:path';
import type { FSWatcher } from 'chokidar';

export interface Watcher {
  /** From now on, these files and no others are watched besides the folders; they need not exist. */
  setFiles(paths: readonly string[]): void;
  close(): Promise<void>;
}

export interface WatcherOptions {
  /** Watched with all that they contain. */
  readonly folders: readonly string[];
  /** Whether a file within the folders counts. */
  readonly includes: (path: string) => boolean;
  /** Relative to this folder, changed files are named. */
  readonly root: string;
  /** Called once for changes that follow each other closely, such as those of an editor that writes and renames. */
  readonly onChange: (paths: readonly string[], firstAt: number) => void;
  readonly report: (message: string) => void;
}

const quietMs = 40;
const maxWaitMs = 250;
const pollMs = 200;
/** The limits of inotify and of open files. */
const limitCodes = ['ENOSPC', 'EMFILE', 'ENFILE'];

/** Watches files for changes; where the system has no watches left, by polling them. */
export async function watchFiles(options: WatcherOptions): Promise<Watcher> {
  const { folders, includes, root, onChange, report } = options;
  const { watch } = await import('chokidar');
  let files: readonly string[] = [];
  let isPolling = false;
  let isClosed = false;
  let changed = new Set<string>();
  let firstAt = 0;
  let timer: NodeJS.Timeout | undefined;

  /** The path below the watched folder that contains it; the package itself may be in node_modules. */
  function withinFolder(path: string): string {
    const folder = folders.find((each) => path.startsWith(each));
    return folder === undefined ? '' : path.slice(folder.length);
  }

  function note(path: string): void {
    const now = performance.now();
    if (changed.size === 0) firstAt = now;
    changed.add(relative(root, path));
    clearTimeout(timer);
    timer = setTimeout(flush, Math.max(0, Math.min(quietMs, firstAt + maxWaitMs - now)));
  }

  function flush(): void {
    const paths = [...changed].sort();
    changed = new Set();
    if (!isClosed) onChange(paths, firstAt);
  }

  function start(paths: readonly string[], usePolling: boolean): FSWatcher {
    const isWatched = (path: string, isFile: boolean | undefined) =>
      files.includes(path) ||
      !isFile ||
      folders.every((folder) => !path.startsWith(folder)) ||
      includes(path);
    const watcher = watch([...paths], {
      ignoreInitial: true,
      usePolling,
      interval: pollMs,
      binaryInterval: pollMs,
      ignored: (path, stats) =>
        /[\\/](node_modules|\.git)([\\/]|$)/.test(withinFolder(path)) || !isWatched(path, stats?.isFile()),
    });
    watcher.on('all', (event, path) => {
      if (!event.endsWith('Dir')) note(path);
    });
    watcher.on('error', (error) => {
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      if (limitCodes.includes(code)) poll(code);
      else report(`cannot watch some files: ${error instanceof Error ? error.message : error}`);
    });
    return watcher;
  }

  function poll(code: string): void {
    if (isPolling || isClosed) return;
    isPolling = true;
    report(
      `the system has no file watches left (${code}), so files are checked every ${pollMs} ms instead. To change that, ${
        code === 'ENOSPC'
          ? 'raise the limit: sudo sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512'
          : 'raise the limit of open files (ulimit -n), or close other programs that watch files'
      }.`,
    );
    const old = watcher;
    watcher = start([...folders, ...files], true);
    void old.close();
  }

  let watcher = start(folders, false);
  return {
    setFiles(paths) {
      const added = paths.filter((path) => !files.includes(path));
      const removed = files.filter((path) => !paths.includes(path));
      files = paths;
      if (removed.length > 0) watcher.unwatch(removed);
      if (added.length > 0) watcher.add(added);
    },
    async close() {
      isClosed = true;
      clearTimeout(timer);
      await watcher.close();
    },
  };
}
