// Vercel's AI SDK over its provider for compatible endpoints.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import {
  APICallError,
  Output,
  embed,
  embedMany,
  generateObject,
  generateText,
  stepCountIs,
  streamObject,
  streamText,
  tool,
} from "ai";
import { z } from "zod";

const name = process.env.CLIENTS_MODEL;
const provider = createOpenAICompatible({
  name: "ochat",
  baseURL: `${process.env.CLIENTS_URL}/v1`,
  apiKey: "none",
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const model = provider(name);
const base = { model, prompt: "Hello there", maxOutputTokens: 900, maxRetries: 0 };
const Place = z.object({ city: z.string(), days: z.number().int() });
const weather = tool({
  description: "The weather of a place",
  inputSchema: Place,
  execute: async ({ city }) => ({ city, sun: true }),
});

test("text", async () => {
  const { text, usage, finishReason } = await generateText({ ...base, instructions: "Be brief." });
  assert.ok(text.length > 0);
  assert.equal(finishReason, "stop");
  assert.equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
  assert.ok(usage.outputTokens > 0);
});

test("a conversation of parts", async () => {
  const { prompt: _, ...rest } = base;
  const { text } = await generateText({
    ...rest,
    messages: [
      { role: "user", content: [{ type: "text", text: "a" }, { type: "text", text: "b" }] },
      { role: "assistant", content: [{ type: "text", text: "c" }] },
      { role: "user", content: "d" },
    ],
  });
  assert.ok(text);
});

test("streamed text, with usage", async () => {
  const result = streamText({ ...base, onError: () => {} });
  let text = "";
  for await (const delta of result.textStream) text += delta;
  assert.equal(text, await result.text);
  assert.ok((await result.usage).outputTokens > 0);
  assert.equal(await result.finishReason, "stop");
});

test("settings of sampling", async () => {
  const asked = { ...base, temperature: 0.8, topP: 0.9, seed: 3, stopSequences: ["##"], frequencyPenalty: 1 };
  assert.equal((await generateText(asked)).text, (await generateText(asked)).text);
});

test("a required call is executed", async () => {
  const { toolCalls, toolResults, finishReason } = await generateText({
    ...base,
    tools: { weather },
    toolChoice: "required",
  });
  Place.parse(toolCalls[0].input);
  assert.equal(toolResults[0].output.sun, true);
  assert.equal(finishReason, "tool-calls");
});

test("a named call, streamed", async () => {
  const result = streamText({
    ...base,
    tools: { weather },
    toolChoice: { type: "tool", toolName: "weather" },
  });
  await result.consumeStream();
  Place.parse((await result.toolCalls)[0].input);
});

test("calls and their results go back, step after step", async () => {
  const { steps } = await generateText({
    ...base,
    tools: { weather },
    toolChoice: "required",
    stopWhen: stepCountIs(2),
  });
  assert.equal(steps.length, 2);
  assert.equal(steps[1].toolResults[0].output.sun, true);
});

test("an object after a schema", async () => {
  const { output } = await generateText({ ...base, output: Output.object({ schema: Place }) });
  Place.parse(output);
});

test("an object after a schema, as it grows", async () => {
  const result = streamText({ ...base, output: Output.object({ schema: Place }) });
  let last;
  for await (const partial of result.partialOutputStream) last = partial;
  Place.parse(last);
});

test("the older functions for objects", async () => {
  Place.parse((await generateObject({ ...base, schema: Place })).object);
  const result = streamObject({ ...base, schema: Place, onError: () => {} });
  for await (const _ of result.partialObjectStream);
  Place.parse(await result.object);
});

test("an array and a choice", async () => {
  const { output: places } = await generateText({ ...base, output: Output.array({ element: Place }) });
  places.forEach((place) => Place.parse(place));
  const { output: word } = await generateText({ ...base, output: Output.choice({ options: ["a", "b"] }) });
  assert.ok(["a", "b"].includes(word));
});

test("plain completions", async () => {
  const { text } = await generateText({ ...base, model: provider.completionModel(name) });
  assert.equal(typeof text, "string");
});

test("embeddings", async () => {
  const one = await embed({ model: provider.embeddingModel(name), value: "a", maxRetries: 0 });
  const many = await embedMany({ model: provider.embeddingModel(name), values: ["a", "b"], maxRetries: 0 });
  assert.equal(many.embeddings.length, 2);
  assert.equal(many.embeddings[0].length, one.embedding.length);
});

test("faults are told with status and message", async () => {
  for (const changes of [{ model: provider("other") }, { temperature: 9 }]) {
    await assert.rejects(generateText({ ...base, ...changes }), (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.equal(error.statusCode, changes.model ? 404 : 400);
      assert.match(error.message, changes.model ? /other/ : /temperature/);
      return true;
    });
  }
});

test("a stream that is aborted ends", async () => {
  const controller = new AbortController();
  const result = streamText({ ...base, maxOutputTokens: 5000, abortSignal: controller.signal });
  for await (const _ of result.textStream) controller.abort();
  assert.ok(controller.signal.aborted);
});
