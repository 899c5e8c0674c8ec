// The double in tests of node:test, vitest or jest: one virtual key and one scope of the double for each test.
//   const double = await openDouble();
//   await double.reply("Sunny.", { when: { text: "weather" } });
//   const client = new OpenAI(double.openai);
//   ...
//   await double.close();
// Rules are those of the script language (config/double.schema.json); what `close` finds fault with, it throws.

export type Text = string | { equals?: string; contains?: string; matches?: string };
export type Provider = "openai" | "anthropic" | "google";
export interface When {
  provider?: Provider | Provider[];
  model?: string | string[];
  text?: Text;
  system?: Text;
  tool?: string;
  tool_result?: Text;
  header?: Record<string, Text>;
  stream?: boolean;
  turn?: number;
  call?: number;
}
export interface Reply {
  text?: string;
  tool_calls?: { name: string; arguments?: Record<string, unknown> }[];
  json?: unknown;
  refusal?: string;
  finish_reason?: "stop" | "length" | "tool_calls" | "content_filter";
  reasoning_tokens?: number;
  prompt_tokens?: number;
  timing?: { first_token?: Duration; tokens_per_second?: number; jitter?: number; seed?: number };
}
export interface Fault {
  kind: "status" | "delay" | "hang" | "drop" | "cut" | "malformed" | "rate_limit";
  status?: number;
  message?: string;
  retry_after?: Duration;
  seconds?: Duration;
  after_chunks?: number;
  requests?: number;
  per?: Duration;
}
export type Duration = number | string; // seconds, or "500ms", "30s", "2m"
export interface Terms {
  name?: string;
  when?: When;
  times?: number;
  for?: Duration;
  after?: Duration;
  flapping?: { down: Duration; up: Duration };
  probability?: number;
  seed?: number;
  priority?: number;
}
export type Rule = Terms & ({ reply: Reply | string } | { fault: Fault | number | string });

export interface Call {
  attempt: number;
  provider: Provider;
  model: string;
  alias: string | null;
  rule: string | null;
  outcome: string;
  status: number;
  started_at: number;
  ended_at: number | null;
  request: any;
  response: any;
}
export interface Filter {
  model?: string;
  provider?: Provider;
  text?: string;
}

export interface Options {
  url?: string;
  masterKey?: string;
  strict?: boolean; // a call that no rule takes, or a rule that no call used, makes `close` throw
}

/** A double of its own for one test. Reads LITELLM_PROXY_URL and LITELLM_MASTER_KEY unless told otherwise. */
export async function openDouble(options: Options = {}): Promise<Double> {
  const url = (options.url ?? process.env.LITELLM_PROXY_URL ?? "").replace(/\/$/, "");
  const masterKey = options.masterKey ?? process.env.LITELLM_MASTER_KEY;
  if (!url || !masterKey) {
    throw new Error('LITELLM_PROXY_URL and LITELLM_MASTER_KEY are not set: eval "$(litellm-local env)"');
  }
  const master = caller(url, masterKey);
  const { key } = await master("POST", "/key/generate", { duration: "1h", metadata: { made_by: "double.ts" } });
  const double = new Double(url, key, options.strict ?? false, () => master("POST", "/key/delete", { keys: [key] }));
  await double.clear();
  return double;
}

export class Double {
  readonly url: string;
  readonly key: string;
  #call: Caller;
  #strict: boolean;
  #deleteKey: () => Promise<unknown>;

  /** Use `openDouble`. */
  constructor(url: string, key: string, strict: boolean, deleteKey: () => Promise<unknown>) {
    this.url = url;
    this.key = key;
    this.#call = caller(url, key);
    this.#strict = strict;
    this.#deleteKey = deleteKey;
  }

  /** For `new OpenAI(double.openai)`. */
  get openai() {
    return { baseURL: `${this.url}/v1`, apiKey: this.key };
  }

  /** For `new Anthropic(double.anthropic)`. */
  get anthropic() {
    return { baseURL: this.url, apiKey: this.key };
  }

  /** For a process that is started by the test: `spawn(…, { env: { ...process.env, ...double.env } })`. */
  get env() {
    const { openai, anthropic } = this;
    return {
      OPENAI_BASE_URL: openai.baseURL,
      OPENAI_API_KEY: openai.apiKey,
      ANTHROPIC_BASE_URL: anthropic.baseURL,
      ANTHROPIC_API_KEY: anthropic.apiKey,
    };
  }

  /** Answers with a text, or whatever else a reply may be. Resolves to the rule's id. */
  async reply(reply: Reply | string, terms: Terms = {}): Promise<string> {
    return (await this.rules({ ...terms, reply }))[0];
  }

  /** Fails with a status (429) or in another way ("cut"). Faults come before replies. */
  async fail(fault: Fault | number | string, terms: Terms = {}): Promise<string> {
    return (await this.rules({ priority: 1, ...terms, fault }))[0];
  }

  /** Fails all that a provider is asked; `{ for: "30s" }`, or until `remove`. */
  async outage(provider: Provider, terms: Terms = {}): Promise<string> {
    return this.fail(503, { name: `outage of ${provider}`, ...terms, when: { ...terms.when, provider } });
  }

  async rules(...rules: Rule[]): Promise<string[]> {
    return (await this.#call("POST", "/_double/rules", { rules })).ids;
  }

  async remove(id: string): Promise<void> {
    await this.#call("DELETE", `/_double/rules/${id}`);
  }

  /** Takes all rules away; what was asked stays in `calls`. */
  async clear(): Promise<void> {
    await this.#call("PUT", "/_double/script", { strict: this.#strict, inherit: false, rules: [] });
  }

  /** What was sent upstream so far, in its order. */
  async calls(filter: Filter = {}): Promise<Call[]> {
    return (await this.#call("GET", `/_double/journal?${new URLSearchParams({ ...filter })}`)).entries;
  }

  /** The calls, once there are `count` that have ended; throws where there are not in time. */
  async waitFor(count: number, filter: Filter = {}, seconds = 10): Promise<Call[]> {
    const query = new URLSearchParams({ ...filter, wait_for: `${count}`, timeout: `${seconds}` });
    const { entries } = await this.#call("GET", `/_double/journal?${query}`);
    const ended = entries.filter((call: Call) => call.ended_at !== null).length;
    if (ended < count) throw new Error(`waited ${seconds} s for ${count} calls, but there are ${ended}`);
    return entries;
  }

  /** Forgets the scope and deletes the key. Where strict, throws what strictness finds fault with. */
  async close(): Promise<void> {
    try {
      const complaints = this.#strict ? await this.#complaints() : [];
      await this.#call("DELETE", `/_double/scopes/${(await this.#call("GET", "/_double/script")).scope}`);
      if (complaints.length) throw new Error(`the double is strict:\n  ${complaints.join("\n  ")}`);
    } finally {
      await this.#deleteKey();
    }
  }

  /** `await using double = await openDouble()` closes it by itself. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #complaints(): Promise<string[]> {
    const { rules } = await this.#call("GET", "/_double/script");
    const unused = rules.filter((rule: any) => rule.used === 0);
    const untaken = (await this.calls()).filter((call) => call.outcome === "no match");
    return [
      ...untaken.map((call) => `no rule took a call of ${call.model}: ${JSON.stringify(call.response?.body)}`),
      ...unused.map((rule: any) => `the rule ${rule.name ?? `#${rule.id}`} was never used`),
    ];
  }
}

type Caller = (method: string, path: string, body?: unknown) => Promise<any>;

/** Sends JSON with a key and gives JSON back; an error says what the gateway said. */
function caller(url: string, key: string): Caller {
  return async (method, path, body) => {
    const answer = await fetch(url + path, {
      method,
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  };
}
