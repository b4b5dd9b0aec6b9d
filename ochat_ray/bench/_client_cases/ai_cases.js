// Cases of the AI SDK with its provider for OpenAI-compatible endpoints.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateObject, generateText, jsonSchema, streamObject, streamText, tool } from "ai";
import { baseURL, check, model as name, run } from "./harness.mjs";

const settings = { name: "ochat", baseURL, apiKey: "none", includeUsage: true };
const provider = createOpenAICompatible({ ...settings, supportsStructuredOutputs: true });
const model = provider(name);
const base = { model, prompt: "hi", maxOutputTokens: 300, maxRetries: 0 };
const schema = jsonSchema({
  type: "object",
  properties: { days: { type: "integer", minimum: 0, maximum: 9 }, unit: { type: "string", enum: ["C", "F"] } },
  required: ["days", "unit"],
  additionalProperties: false,
});
const tools = { weather: tool({ description: "Weather.", inputSchema: schema, execute: async () => "sunny" }) };
const onError = () => {};

await run({
  async generateText() {
    const answer = await generateText(base);
    check(typeof answer.text === "string" && answer.usage.outputTokens > 0, "text and usage");
  },
  async streamText() {
    const answer = streamText({ ...base, onError });
    let text = "";
    for await (const part of answer.textStream) text += part;
    check(text === (await answer.text) && (await answer.usage).outputTokens > 0, "text and usage");
  },
  async "system and history"() {
    const messages = ["user", "assistant", "user"].map((role) => ({ role, content: "hi" }));
    await generateText({ model, messages, maxOutputTokens: 20, maxRetries: 0, temperature: 0, seed: 1 });
  },
  async "required tool"() {
    const answer = await generateText({ ...base, tools, toolChoice: "required" });
    check(answer.toolCalls[0].toolName === "weather" && "days" in answer.toolCalls[0].input, "call");
    check(answer.finishReason === "tool-calls", answer.finishReason);
  },
  async "required tool, streamed"() {
    const answer = streamText({ ...base, tools, toolChoice: "required", onError });
    const calls = await answer.toolCalls;
    check(calls[0].toolName === "weather", "call");
  },
  async "tool results sent back"() {
    const called = await generateText({ ...base, tools, toolChoice: "required" });
    const messages = [{ role: "user", content: "hi" }, ...called.response.messages];
    await generateText({ model, messages, tools, maxOutputTokens: 20, maxRetries: 0 });
  },
  async generateObject() {
    const answer = await generateObject({ ...base, schema });
    check(Number.isInteger(answer.object.days), "object");
  },
  async streamObject() {
    const answer = streamObject({ ...base, schema, onError });
    for await (const _ of answer.partialObjectStream);
    check(["C", "F"].includes((await answer.object).unit), "object");
  },
  async embedMany() {
    const answer = await embedMany({ model: provider.textEmbeddingModel(name), values: ["a", "b"], maxRetries: 0 });
    check(answer.embeddings.length === 2, "vectors");
  },
  async "completion model"() {
    await generateText({ ...base, model: provider.completionModel(name), maxOutputTokens: 5 });
  },
  async "unknown model"() {
    const error = await generateText({ ...base, model: provider("x") }).catch((error) => error);
    check(error.statusCode === 404 && /does not exist/.test(error.message), String(error));
  },
});
