/** Listens on a free port, prints it as one line of JSON, and ends the process when its standard input ends. */
export function announce(server) {
  server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: server.address().port })));
  process.stdin.resume().on('end', () => process.exit());
}

/** The body of a request, parsed. */
export async function readJson(req) {
  let text = '';
  for await (const chunk of req) text += chunk;
  return JSON.parse(text);
}
