// The openai package of Node: its client, helpers for streams, tools and schemas, and its errors.
import assert from "node:assert/strict";
import { test } from "node:test";
import OpenAI from "openai";
import { zodFunction, zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const model = process.env.CLIENTS_MODEL;
const client = new OpenAI({ baseURL: `${process.env.CLIENTS_URL}/v1`, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Hello there" }];
const base = { model, messages, max_tokens: 60 };
const long = { model, messages, max_completion_tokens: 900 };
const Place = z.object({ city: z.string(), days: z.number().int() });
const weather = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a place",
    strict: true,
    parameters: {
      type: "object",
      properties: { city: { type: "string" }, days: { type: "integer" } },
      required: ["city", "days"],
      additionalProperties: false,
    },
  },
};

test("models are listed and looked up", async () => {
  const ids = [];
  for await (const one of client.models.list()) ids.push(one.id);
  assert.ok(ids.includes(model));
  assert.equal((await client.models.retrieve(model)).object, "model");
});

test("a chat completion", async () => {
  const answer = await client.chat.completions.create(base);
  assert.equal(answer.object, "chat.completion");
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.ok(["stop", "length"].includes(answer.choices[0].finish_reason));
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test("the raw response is at hand", async () => {
  const { data, response } = await client.chat.completions.create(base).withResponse();
  assert.match(response.headers.get("content-type"), /^application\/json/);
  assert.ok(data.id.startsWith("chatcmpl-"));
});

test("roles, parts and names of messages", async () => {
  const answer = await client.chat.completions.create({
    ...base,
    messages: [
      { role: "developer", content: "Be brief." },
      { role: "system", content: [{ type: "text", text: "Be kind." }] },
      { role: "user", name: "Ada", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
      { role: "assistant", content: "c", refusal: null },
      { role: "user", content: "d" },
    ],
  });
  assert.ok(answer.choices[0].message.content);
});

test("a stream, chunk by chunk", async () => {
  const stream = await client.chat.completions.create({
    ...base,
    stream: true,
    stream_options: { include_usage: true },
  });
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.deepEqual(chunks.at(-1).choices, []);
  assert.ok(chunks.at(-1).usage.completion_tokens > 0);
  assert.equal(chunks.filter((chunk) => chunk.choices[0]?.finish_reason).length, 1);
});

test("the helper for streams puts together what a whole answer has", async () => {
  const asked = { ...base, temperature: 0, seed: 1 };
  const whole = await client.chat.completions.create(asked);
  let text = "";
  const runner = client.chat.completions.stream({ ...asked, stream: true });
  runner.on("content", (delta) => (text += delta));
  const final = await runner.finalChatCompletion();
  assert.equal(text, whole.choices[0].message.content);
  assert.deepEqual(final.choices[0].message.content, whole.choices[0].message.content);
  assert.equal(final.choices[0].finish_reason, whole.choices[0].finish_reason);
});

test("a stream can be teed and sent on as text", async () => {
  const stream = await client.chat.completions.create({ ...base, stream: true });
  const [left, right] = stream.tee();
  const lines = (await new Response(left.toReadableStream()).text()).trim().split("\n");
  let count = 0;
  for await (const _ of right) count += 1;
  assert.equal(lines.length, count);
});

test("a stream that is aborted ends", async () => {
  const stream = await client.chat.completions.create({
    ...base,
    max_tokens: 5000,
    stream: true,
    min_tokens: 5000,
  });
  let count = 0;
  for await (const _ of stream) if (++count === 5) stream.controller.abort();
  assert.ok(count >= 5 && count < 1000);
});

test("several choices, ends, penalties, bias and a seed", async () => {
  const asked = { ...base, n: 3, seed: 5, stop: ["\n\n"], presence_penalty: 1, logit_bias: { 40: -100 } };
  const [first, again] = [
    await client.chat.completions.create(asked),
    await client.chat.completions.create(asked),
  ];
  assert.deepEqual(first.choices.map((one) => one.index), [0, 1, 2]);
  assert.deepEqual(
    first.choices.map((one) => one.message.content),
    again.choices.map((one) => one.message.content),
  );
});

test("log-probabilities", async () => {
  const answer = await client.chat.completions.create({ ...base, logprobs: true, top_logprobs: 3 });
  for (const one of answer.choices[0].logprobs.content) {
    assert.ok(one.logprob <= 0 && one.top_logprobs.length === 3);
    assert.ok(Array.isArray(one.bytes));
  }
  assert.ok(answer.choices[0].logprobs.content.length > 0);
});

test("a required call, whole", async () => {
  const answer = await client.chat.completions.create({ ...long, tools: [weather], tool_choice: "required" });
  const [call] = answer.choices[0].message.tool_calls;
  assert.equal(answer.choices[0].finish_reason, "tool_calls");
  assert.equal(call.type, "function");
  Place.parse(JSON.parse(call.function.arguments));
});

test("a named call, streamed", async () => {
  const runner = client.chat.completions.stream({
    ...long,
    tools: [weather],
    tool_choice: { type: "function", function: { name: "weather" } },
  });
  const message = await runner.finalMessage();
  Place.parse(JSON.parse(message.tool_calls[0].function.arguments));
});

test("a call and its result are sent back", async () => {
  const first = await client.chat.completions.create({ ...long, tools: [weather], tool_choice: "required" });
  const called = first.choices[0].message;
  const answer = await client.chat.completions.create({
    ...base,
    tools: [weather],
    messages: [
      ...messages,
      called,
      { role: "tool", tool_call_id: called.tool_calls[0].id, content: '{"sun": true}' },
    ],
  });
  assert.equal(answer.object, "chat.completion");
});

test("the helper that runs tools", async () => {
  let asked;
  const runner = client.chat.completions.runTools({
    ...long,
    tool_choice: { type: "function", function: { name: "weather" } },
    tools: [
      zodFunction({
        name: "weather",
        parameters: Place,
        function: (place) => {
          asked = place;
          return { sun: true };
        },
      }),
    ],
  });
  await runner.done();
  Place.parse(asked);
});

test("a schema, parsed by the helper", async () => {
  const answer = await client.chat.completions.parse({
    ...long,
    response_format: zodResponseFormat(Place, "place"),
  });
  Place.parse(answer.choices[0].message.parsed);
});

test("a schema, streamed", async () => {
  const runner = client.chat.completions.stream({
    ...long,
    response_format: zodResponseFormat(Place, "place"),
  });
  Place.parse((await runner.finalChatCompletion()).choices[0].message.parsed);
});

test("any JSON object", async () => {
  const answer = await client.chat.completions.create({ ...long, response_format: { type: "json_object" } });
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(typeof JSON.parse(answer.choices[0].message.content), "object");
});

test("plain completions, whole and streamed", async () => {
  const asked = { model, prompt: "Once", max_tokens: 9, temperature: 0 };
  const whole = await client.completions.create(asked);
  let text = "";
  for await (const chunk of await client.completions.create({ ...asked, stream: true })) {
    text += chunk.choices[0].text;
  }
  assert.equal(text, whole.choices[0].text);
});

test("embeddings, as base64 and as numbers", async () => {
  const [packed, plain] = [
    await client.embeddings.create({ model, input: ["a", "b"] }),
    await client.embeddings.create({ model, input: ["a", "b"], encoding_format: "float" }),
  ];
  assert.equal(packed.data.length, 2);
  packed.data[1].embedding.forEach((value, index) => {
    assert.ok(Math.abs(value - plain.data[1].embedding[index]) < 1e-5);
  });
});

test("faults have their class, parameter and code", async () => {
  await assert.rejects(client.chat.completions.create({ ...base, model: "other" }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, "model_not_found");
    return true;
  });
  await assert.rejects(client.chat.completions.create({ ...base, temperature: 9, stream: true }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    return true;
  });
  await assert.rejects(
    client.chat.completions.create({ model, messages: [{ role: "user", content: "word ".repeat(40000) }] }),
    (error) => error.code === "context_length_exceeded",
  );
  await assert.rejects(client.get("/nothing"), OpenAI.NotFoundError);
});
