import { parseArgs } from 'node:util';

/** The sessions that a command applies to. `tag` is a session tag, never a session id. */
export type Selection =
  | { readonly kind: 'subject'; readonly sub: string }
  | { readonly kind: 'session'; readonly tag: string }
  | { readonly kind: 'all' };

export interface SessionCommand {
  readonly action: 'list' | 'show' | 'end';
  readonly selection: Selection;
  readonly asJson: boolean;
  /** True when `end` needs no confirmation. */
  readonly isConfirmed: boolean;
}

/** The command line is not valid; the message says why. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const usage = `Usage: latchkey sessions list|show|end --subject SUBJECT|--session SESSION|--all [options]
       latchkey dev [options]   runs Latchkey for development; see latchkey dev --help

Lists, shows or ends sessions that are signed in. Reads the configuration of the server: its environment variables, and
.env in the current directory.

  list   one line for each session
  show   what is known about each session: user, scopes, times and browser; never a token
  end    ends the sessions on every instance and revokes their tokens; their tabs say that an administrator signed the
         user out

  --subject SUBJECT   the sessions of a user, by the "sub" of the provider
  --session SESSION   one session, by its tag in "list" and in the audit log
  --all               all sessions
  --json              print JSON
  --yes               end without asking for confirmation
  --help, --version

Exit status: 0 done; 1 failed, such as when Redis is unavailable; 2 wrong arguments, or not confirmed; 3 no such session;
78 invalid configuration.
`;

const options = {
  subject: { type: 'string', multiple: true },
  session: { type: 'string', multiple: true },
  all: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  yes: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
  version: { type: 'boolean', default: false },
} as const;
/** The format of a session tag. No option has this length. */
const sessionName = /^[\w-]{16}$/;
const actions = ['list', 'show', 'end'] as const;

/** @throws UsageError */
export function parseCommand(args: readonly string[]): SessionCommand | 'help' | 'version' {
  const { values, positionals } = parse(args);
  if (values.help) return 'help';
  if (values.version) return 'version';
  const [subject, name, ...rest] = positionals;
  if (subject === undefined) throw new UsageError('a command is missing');
  if (subject !== 'sessions') throw new UsageError(`unknown command: ${subject}`);
  const action = actions.find((each) => each === name);
  if (!action) throw new UsageError(name === undefined ? 'list, show or end?' : `unknown command: ${name}`);
  if (rest[0] !== undefined) throw new UsageError(`unexpected argument: ${rest[0]}`);
  if (values.yes && action !== 'end') throw new UsageError('--yes belongs to "end"');
  return { action, selection: select(values), asJson: values.json, isConfirmed: values.yes };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: joinSessionNames(args), options, allowPositionals: true });
  } catch (error) {
    // Without the name of the error, and without the hint about positional arguments.
    throw new UsageError(
      String(error)
        .replace(/^\w+( \[\w+\])?: /, '')
        .split('. ')[0]!,
    );
  }
}

/** Replaces `--session TAG` with `--session=TAG`, because a session tag may begin with a dash. */
function joinSessionNames(args: readonly string[]): string[] {
  const isName = (index: number) => args[index - 1] === '--session' && sessionName.test(args[index] ?? '');
  return args.flatMap((each, index) => {
    if (isName(index)) return [];
    return isName(index + 1) ? [`${each}=${args[index + 1]}`] : [each];
  });
}

function select({ subject = [], session = [], all }: ReturnType<typeof parse>['values']): Selection {
  const selections: readonly Selection[] = [
    ...subject.map((sub) => ({ kind: 'subject', sub }) as const),
    ...session.map((tag) => ({ kind: 'session', tag }) as const),
    ...(all ? [{ kind: 'all' } as const] : []),
  ];
  const [selection] = selections;
  // An empty value probably comes from an unset variable in a script, so it must not select anything.
  if (selections.length !== 1 || !selection || subject.includes('') || session.includes(''))
    throw new UsageError('say which sessions: exactly one of --subject SUBJECT, --session SESSION and --all');
  return selection;
}
