// Cases of a client written in JavaScript; each prints one line of JSON.
export const model = process.env.CLIENTS_MODEL;
export const baseURL = `${process.env.CLIENTS_URL}/v1`;

export function check(holds, what) {
  if (!holds) throw new Error(what);
}

export async function run(cases) {
  for (const [name, body] of Object.entries(cases)) {
    let reason = null;
    try {
      await body();
    } catch (error) {
      reason = String(error?.message ?? error);
    }
    console.log(JSON.stringify({ name, outcome: reason === null ? "passed" : "failed", reason }));
  }
}
