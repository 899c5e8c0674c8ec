// Every kind of scripted reply and every error, as the official SDKs for Node see them. Run by test_node_sdks.py,
// straight against the simulator or through the gateway: the environment says where, and which models.
// It is copied to where the SDKs are installed (scripts/examples).
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";

import Anthropic from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import OpenAI from "openai";

const { CONTROL_URL, CONTROL_KEY, OPENAI_MODEL, ANTHROPIC_MODEL } = process.env;
const STRAIGHT = process.env.STRAIGHT === "1";

const ASKED = "What is the weather in Turin?";
const messages = [{ role: "user", content: ASKED }];
const CITY = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const CALLS = [
  { name: "get_weather", arguments: { city: "Turin" } },
  { name: "get_weather", arguments: { city: "Milan" } },
];
const FUNCTIONS = [{ type: "function", function: { name: "get_weather", parameters: CITY } }];
const TOOLS = [{ name: "get_weather", input_schema: CITY }];

/** The SDKs with a scope of their own, whose script is these rules. */
async function scripted(...rules) {
  const scope = `node-${randomUUID()}`;
  const answer = await fetch(`${CONTROL_URL}/script?scope=${scope}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${CONTROL_KEY}`, "content-type": "application/json", "x-double-scope": scope },
    body: JSON.stringify({ rules }),
  });
  assert.equal(answer.status, 200, await answer.text());
  const settings = {
    maxRetries: 0,
    timeout: 60_000,
    defaultHeaders: { "x-double-scope": scope, "x-litellm-num-retries": "0" },
  };
  return { openai: new OpenAI(settings), anthropic: new Anthropic(settings) };
}

const chat = (openai, settings = {}) => openai.chat.completions.create({ model: OPENAI_MODEL, messages, ...settings });

/** A stream's chunks put together as the SDK does it, and the chunks. */
async function streamed(openai, settings = {}) {
  const runner = openai.chat.completions.stream({
    model: OPENAI_MODEL,
    messages,
    stream_options: { include_usage: true },
    ...settings,
  });
  const chunks = [];
  for await (const chunk of runner) chunks.push(chunk);
  return { chunks, reply: await runner.finalChatCompletion() };
}

/** The reply in one piece, and the same streamed. */
async function both(openai, settings) {
  return [await chat(openai, settings), (await streamed(openai, settings)).reply];
}

const message = { max_tokens: 4000, messages, model: ANTHROPIC_MODEL };

async function bothMessages(anthropic, settings = {}) {
  const whole = await anthropic.messages.create({ ...message, ...settings });
  return [whole, await anthropic.messages.stream({ ...message, ...settings }).finalMessage()];
}

const textOf = (reply) => reply.content.filter((block) => block.type === "text").map((block) => block.text).join("");
const callsOf = (reply) => reply.content.filter((block) => block.type === "tool_use");

// -- OpenAI ----------------------------------------------------------------------------------------------------

test("OpenAI: text, and its usage", async () => {
  const { openai } = await scripted({ reply: "Dry, 22 °C 🌞" });
  const { chunks, reply } = await streamed(openai);
  for (const one of [await chat(openai), reply]) {
    assert.equal(one.choices[0].message.content, "Dry, 22 °C 🌞");
    assert.equal(one.choices[0].finish_reason, "stop");
  }
  const usage = chunks.at(-1).usage;
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  assert.ok(chunks.length > 3);
});

test("OpenAI: text, then two tool calls at once", async () => {
  const { openai } = await scripted({ reply: { text: "I will look.", tool_calls: CALLS } });
  for (const { choices } of await both(openai, { tools: FUNCTIONS })) {
    const said = choices[0].message;
    assert.equal(said.content, "I will look.");
    assert.deepEqual(
      said.tool_calls.map((call) => JSON.parse(call.function.arguments).city),
      ["Turin", "Milan"],
    );
    assert.equal(new Set(said.tool_calls.map((call) => call.id)).size, 2);
    assert.equal(choices[0].finish_reason, "tool_calls");
  }
});

test("OpenAI: tools run by the SDK, their results quoted", async () => {
  const { openai } = await scripted({ when: { turn: 1 }, reply: { tool_calls: CALLS } });
  for (const stream of [false, true]) {
    const asked = [];
    const run = ({ city }) => {
      asked.push(city);
      return `rain in ${city}`;
    };
    const tool = { name: "get_weather", description: "the weather", parameters: CITY, parse: JSON.parse, function: run };
    const tools = [{ type: "function", function: tool }];
    const runner = openai.chat.completions.runTools({ model: OPENAI_MODEL, messages, tools, stream });
    assert.match(await runner.finalContent(), /"rain in Turin" and "rain in Milan"/);
    assert.deepEqual(asked, ["Turin", "Milan"]);
  }
});

test("OpenAI: JSON for a schema, the script's and the simulator's own", async () => {
  const schema = { name: "city", schema: { ...CITY, additionalProperties: false }, strict: true };
  const settings = { response_format: { type: "json_schema", json_schema: schema } };
  const { openai } = await scripted({ when: { text: "Turin" }, reply: { json: { city: "Turin" } } });
  for (const { choices } of await both(openai, settings)) {
    assert.deepEqual(JSON.parse(choices[0].message.content), { city: "Turin" });
  }
  const parsed = await openai.chat.completions.parse({
    model: OPENAI_MODEL,
    messages: [{ role: "user", content: "Which city?" }],
    ...settings,
  });
  assert.equal(typeof JSON.parse(parsed.choices[0].message.content).city, "string");
});

test("OpenAI: refusal", async () => {
  const { openai } = await scripted({ reply: { refusal: "I cannot." } });
  for (const { choices } of await both(openai)) {
    assert.equal(choices[0].message.refusal, "I cannot.");
    assert.equal(choices[0].message.content ?? "", "");
    assert.equal(choices[0].finish_reason, "stop");
  }
});

for (const finish of ["stop", "length", "content_filter"]) {
  test(`OpenAI: finish_reason ${finish}`, async () => {
    const { openai } = await scripted({ reply: { text: "As far as", finish_reason: finish } });
    const whole = await chat(openai);
    assert.equal(whole.choices[0].finish_reason, finish);
    assert.equal(whole.choices[0].message.content, "As far as");
    const seen = [];
    for await (const chunk of await chat(openai, { stream: true })) seen.push(chunk.choices[0]?.finish_reason);
    assert.deepEqual(seen.filter(Boolean), [finish]);
    if (finish === "length") {
      await assert.rejects(openai.chat.completions.parse({ model: OPENAI_MODEL, messages }), OpenAI.LengthFinishReasonError);
    }
  });
}

test("OpenAI: n, stop and max_tokens", async () => {
  const { openai } = await scripted({ when: { text: "Turin" }, reply: "one two three four" });
  const settings = { n: 2, stop: ["three"] };
  // LiteLLM's streams tell of one choice only why it ended.
  const replies = STRAIGHT ? await both(openai, settings) : [await chat(openai, settings)];
  for (const { choices } of replies) {
    assert.deepEqual(choices.map((choice) => choice.message.content), ["one two ", "one two "]);
  }
  const cut = await chat(openai, { max_tokens: 2 });
  assert.equal(cut.choices[0].message.content, "one two");
  assert.equal(cut.choices[0].finish_reason, "length");
});

test("OpenAI: logprobs", async () => {
  const { openai } = await scripted({ reply: "one two three" });
  for (const { choices } of await both(openai, { logprobs: true, top_logprobs: 3 })) {
    const told = choices[0].logprobs.content;
    assert.equal(told.map((token) => token.token).join(""), "one two three");
    assert.ok(told.every((token) => token.logprob < 0 && token.top_logprobs.length === 3));
  }
});

test("OpenAI: reasoning tokens", async () => {
  const { openai } = await scripted({ reply: { text: "Done.", reasoning_tokens: 640 } });
  for (const { usage } of await both(openai)) {
    assert.equal(usage.completion_tokens_details.reasoning_tokens, 640);
    assert.ok(usage.completion_tokens > 640);
  }
});

test("OpenAI: images and files", async () => {
  const { openai } = await scripted();
  const content = [
    { type: "text", text: "See" },
    { type: "image_url", image_url: { url: "data:image/png;base64,iVBORw0KGgo=", detail: "low" } },
    { type: "file", file: { filename: "a.pdf", file_data: "data:application/pdf;base64,JVBERi0xLjQ=" } },
  ];
  const reply = await chat(openai, { messages: [{ role: "user", content }] });
  assert.match(reply.choices[0].message.content, /"See"/);
  assert.ok(reply.usage.prompt_tokens > 800);
});

// -- Anthropic -------------------------------------------------------------------------------------------------

test("Anthropic: text, and its usage", async () => {
  const { anthropic } = await scripted({ reply: "Dry, 22 °C 🌞" });
  for (const reply of await bothMessages(anthropic)) {
    assert.equal(textOf(reply), "Dry, 22 °C 🌞");
    assert.equal(reply.stop_reason, "end_turn");
    assert.ok(reply.usage.input_tokens > 5 && reply.usage.output_tokens > 5);
  }
});

test("Anthropic: text, then two tool calls at once", async () => {
  const { anthropic } = await scripted({ reply: { text: "I will look.", tool_calls: CALLS } });
  for (const reply of await bothMessages(anthropic, { tools: TOOLS })) {
    assert.equal(textOf(reply), "I will look.");
    assert.deepEqual(
      callsOf(reply).map((call) => call.input),
      CALLS.map((call) => call.arguments),
    );
    assert.equal(new Set(callsOf(reply).map((call) => call.id)).size, 2);
    assert.equal(reply.stop_reason, "tool_use");
  }
});

test("Anthropic: tools run by the SDK, their results quoted", async () => {
  const { anthropic } = await scripted({ when: { turn: 1 }, reply: { tool_calls: CALLS } });
  const asked = [];
  const run = ({ city }) => {
    asked.push(city);
    return `rain in ${city}`;
  };
  const tools = [betaTool({ name: "get_weather", description: "the weather", inputSchema: CITY, run })];
  // The gateway keeps no conversations for its clients.
  const settings = STRAIGHT ? {} : { thread: false };
  const last = await anthropic.beta.messages.toolRunner({ ...message, ...settings, tools }).runUntilDone();
  assert.deepEqual(asked, ["Turin", "Milan"]);
  assert.match(textOf(last), /"rain in Turin" and "rain in Milan"/);
});

test("Anthropic: refusal", async () => {
  const { anthropic } = await scripted({ reply: { refusal: "I cannot." } });
  for (const reply of await bothMessages(anthropic)) {
    assert.equal(reply.stop_reason, "refusal");
    assert.equal(textOf(reply), "I cannot.");
    assert.equal(reply.stop_details.explanation, "I cannot.");
  }
});

for (const [given, finish] of [
  ["stop", "end_turn"],
  ["length", "max_tokens"],
  ["content_filter", "refusal"],
]) {
  test(`Anthropic: finish_reason ${given}`, async () => {
    const { anthropic } = await scripted({ reply: { text: "As far as", finish_reason: given } });
    for (const reply of await bothMessages(anthropic)) {
      assert.equal(reply.stop_reason, finish);
      assert.equal(textOf(reply), "As far as");
    }
  });
}

test("Anthropic: stop_sequences and max_tokens", async () => {
  const { anthropic } = await scripted({ reply: "one two three four" });
  for (const reply of await bothMessages(anthropic, { stop_sequences: ["three"] })) {
    assert.equal(textOf(reply), "one two ");
    assert.deepEqual([reply.stop_reason, reply.stop_sequence], ["stop_sequence", "three"]);
  }
  for (const reply of await bothMessages(anthropic, { max_tokens: 2 })) {
    assert.deepEqual([textOf(reply), reply.stop_reason], ["one two", "max_tokens"]);
  }
});

test("Anthropic: thinking", async () => {
  const { anthropic } = await scripted({ reply: { text: "Done.", reasoning_tokens: 640 } });
  const thinking = { type: "enabled", budget_tokens: 1024 };
  for (const reply of await bothMessages(anthropic, { thinking })) {
    assert.deepEqual(reply.content.map((block) => block.type), ["thinking", "text"]);
    assert.ok(reply.content[0].signature.length > 40);
    assert.ok(reply.usage.output_tokens > 640);
  }
});

test("Anthropic: images, files and caching", async () => {
  const { anthropic } = await scripted();
  const source = { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" };
  const content = [
    { type: "image", source },
    { type: "document", source: { type: "text", media_type: "text/plain", data: "some words" } },
    { type: "text", text: "See", cache_control: { type: "ephemeral" } },
  ];
  const reply = await anthropic.messages.create({
    ...message,
    system: [{ type: "text", text: "Be brief.", cache_control: { type: "ephemeral" } }],
    messages: [{ role: "user", content }],
  });
  assert.match(textOf(reply), /See/);
  assert.ok(reply.usage.input_tokens > 1600);
});

// -- errors ----------------------------------------------------------------------------------------------------

const NAMED = {
  400: "BadRequestError",
  401: "AuthenticationError",
  403: "PermissionDeniedError",
  404: "NotFoundError",
  409: "ConflictError",
  422: "UnprocessableEntityError",
  429: "RateLimitError",
};
/** Classes that Anthropic's SDK has and OpenAI's has not. */
const ANTHROPICS = {
  408: "RequestTimeoutError",
  413: "ContentTooLargeError",
  503: "ServiceUnavailableError",
  529: "OverloadedError",
};
const STATUSES = [400, 401, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 529];

/** What LiteLLM makes of Anthropic's own; OpenAI's it hands on. */
const BY_LITELLM = STRAIGHT ? {} : { 413: 400, 529: 500 };

/** The SDK's exception for a status is of its own class, and says the script's words. */
function isOwn(sdk, status) {
  const named = sdk === Anthropic ? { ...NAMED, ...ANTHROPICS } : NAMED;
  const expected = named[status] ?? (status >= 500 ? "InternalServerError" : "APIError");
  return (error) => {
    assert.equal(error.constructor, sdk[expected], `${status}: ${error.constructor.name} ${error.message}`);
    assert.equal(error.status, status);
    assert.match(error.message, /It broke\./);
    return true;
  };
}

for (const status of STATUSES) {
  for (const stream of [false, true]) {
    const how = `${status}${stream ? ", streaming" : ""}`;
    const fault = { kind: "status", status, message: "It broke." };
    test(`OpenAI: ${how}`, async () => {
      const { openai } = await scripted({ fault });
      await assert.rejects(chat(openai, { stream }), isOwn(OpenAI, status));
    });
    test(`Anthropic: ${how}`, async () => {
      const { anthropic } = await scripted({ fault });
      await assert.rejects(anthropic.messages.create({ ...message, stream }), isOwn(Anthropic, BY_LITELLM[status] ?? status));
    });
  }
  test(`${status} within a stream`, async () => {
    const fault = { kind: "status", status, message: "It broke.", after_chunks: 3 };
    const { openai, anthropic } = await scripted({ fault });
    const drain = async (stream) => {
      for await (const _ of await stream);
    };
    for (const [sdk, stream] of [
      [OpenAI, chat(openai, { stream: true })],
      [Anthropic, anthropic.messages.create({ ...message, stream: true })],
    ]) {
      await assert.rejects(drain(stream), (error) => error instanceof sdk.APIError && /It broke\./.test(error.message));
    }
  });
}

test("connections: dropped before an answer, cut within a stream, and hanging", async () => {
  const { openai, anthropic } = await scripted({ fault: "drop", times: 2 }, { fault: { kind: "cut", after_chunks: 2 } });
  if (STRAIGHT) {
    await assert.rejects(chat(openai), OpenAI.APIConnectionError);
    await assert.rejects(anthropic.messages.create(message), Anthropic.APIConnectionError);
    await assert.rejects(async () => {
      for await (const _ of await chat(openai, { stream: true }));
    });
    await assert.rejects(anthropic.messages.stream(message).finalMessage(), Anthropic.AnthropicError);
  }
  const hanging = await scripted({ fault: "hang" });
  await assert.rejects(
    hanging.openai.chat.completions.create({ model: OPENAI_MODEL, messages }, { timeout: 300 }),
    OpenAI.APIConnectionTimeoutError,
  );
  await assert.rejects(hanging.anthropic.messages.create(message, { timeout: 300 }), Anthropic.APIConnectionTimeoutError);
});
