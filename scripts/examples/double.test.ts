// How double.ts is used; node's own runner runs it: node --test double.test.ts
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { openDouble } from "./double.ts";

const ask = (text: string) => ({ model: "gpt-5-mini", messages: [{ role: "user" as const, content: text }] });

test("a reply, and what was asked", async () => {
  await using double = await openDouble({ strict: true });
  await double.reply("Sunny.", { when: { text: "weather" } });
  const client = new OpenAI(double.openai);
  const completion = await client.chat.completions.create(ask("How is the weather?"));
  assert.equal(completion.choices[0].message.content, "Sunny.");
  const [call] = await double.calls();
  assert.equal(call.alias, "gpt-5-mini");
  assert.equal(call.request.messages.at(-1).content, "How is the weather?");
});

test("a conversation with a tool", async () => {
  await using double = await openDouble({ strict: true });
  await double.reply({ tool_calls: [{ name: "weather", arguments: { city: "Rome" } }] }, { when: { turn: 1 } });
  await double.reply("Take an umbrella.", { when: { tool_result: "rain" } });
  const client = new OpenAI(double.openai);
  const tools = [{ type: "function" as const, function: { name: "weather", parameters: { type: "object" } } }];
  const messages: any[] = [{ role: "user", content: "Rome?" }];
  const first = await client.chat.completions.create({ model: "gpt-4o", messages, tools });
  const message = first.choices[0].message;
  assert.deepEqual(JSON.parse((message.tool_calls as any)[0].function.arguments), { city: "Rome" });
  messages.push(message, { role: "tool", tool_call_id: message.tool_calls![0].id, content: "rain" });
  const second = await client.chat.completions.create({ model: "gpt-4o", messages, tools });
  assert.equal(second.choices[0].message.content, "Take an umbrella.");
});

test("an outage, and who answers instead", async () => {
  await using double = await openDouble({ strict: true });
  await double.outage("openai");
  await double.reply("Claude here.", { when: { provider: "anthropic" } });
  // Without retries at the gateway, it goes on to the next model at once.
  const client = new OpenAI({ ...double.openai, defaultHeaders: { "x-litellm-num-retries": "0" } });
  const completion = await client.chat.completions.create(ask("Hello?"));
  assert.equal(completion.choices[0].message.content, "Claude here.");
  const asked = (await double.waitFor(3)).map((call) => call.alias);
  assert.deepEqual(asked, ["gpt-5-mini", "gpt-4o", "claude-opus-4.1"]);
});

test("a stream that is cut", async () => {
  await using double = await openDouble();
  await double.reply("One two three four five six seven eight.");
  await double.fail({ kind: "cut", after_chunks: 4 });
  let text = "";
  await assert.rejects(async () => {
    const stream = await new OpenAI(double.openai).chat.completions.create({ ...ask("Count"), stream: true });
    for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  });
  assert.ok("One two three four five six seven eight.".startsWith(text) && text.length < 30, text);
});

test("doubles side by side never see each other", async () => {
  const doubles = await Promise.all(Array.from({ length: 5 }, () => openDouble({ strict: true })));
  await Promise.all(doubles.map((double, n) => double.reply(`I am number ${n}.`)));
  const answers = await Promise.all(
    doubles.map((double) => new OpenAI(double.openai).chat.completions.create(ask("Who are you?"))),
  );
  answers.forEach((answer, n) => assert.equal(answer.choices[0].message.content, `I am number ${n}.`));
  await Promise.all(doubles.map(async (double) => assert.equal((await double.calls()).length, 1)));
  await Promise.all(doubles.map((double) => double.close()));
});

test("strict: what no rule takes and what no call used is an error at the end", async () => {
  const double = await openDouble({ strict: true });
  await double.reply("Sunny.", { name: "the weather", when: { text: "weather" } });
  const client = new OpenAI(double.openai);
  await assert.rejects(client.chat.completions.create(ask("How is the food?")), { status: 400 });
  await assert.rejects(double.close(), /no rule took.*food[\s\S]*the rule the weather was never used/);
});
