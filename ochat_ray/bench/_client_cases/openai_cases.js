// Cases of the openai package for Node.
import OpenAI from "openai";
import { z } from "zod";
import { zodResponseFormat } from "openai/helpers/zod";
import { baseURL, check, model, run } from "./harness.mjs";

const client = new OpenAI({ baseURL, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "hi" }];
const base = { model, messages, max_tokens: 300 };
const parameters = {
  type: "object",
  properties: { days: { type: "integer", minimum: 0, maximum: 9 }, unit: { enum: ["C", "F"] } },
  required: ["days", "unit"],
  additionalProperties: false,
};
const tools = [{ type: "function", function: { name: "weather", description: "Weather.", parameters } }];
const Answer = z.object({ yes: z.boolean(), unit: z.enum(["C", "F"]) });

async function fails(kind, body) {
  try {
    await body();
  } catch (error) {
    check(error instanceof kind, `${error?.constructor?.name}: ${error?.message}`);
    return error;
  }
  throw new Error("no error");
}

await run({
  async whole() {
    const answer = await client.chat.completions.create(base);
    check(typeof answer.choices[0].message.content === "string", "no content");
    check(answer.usage.total_tokens === answer.usage.prompt_tokens + answer.usage.completion_tokens, "usage");
  },
  async stream() {
    const stream = await client.chat.completions.create({
      ...base,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    check(chunks.at(-1).usage.completion_tokens > 0, "no usage");
    check(chunks.at(-2).choices[0].finish_reason, "no finish_reason");
  },
  async "stream helper"() {
    const stream = client.chat.completions.stream(base);
    const answer = await stream.finalChatCompletion();
    check(answer.choices[0].message.role === "assistant", "role");
  },
  async "required tool"() {
    const answer = await client.chat.completions.create({ ...base, tools, tool_choice: "required" });
    const [call] = answer.choices[0].message.tool_calls;
    check(call.function.name === "weather" && "days" in JSON.parse(call.function.arguments), "arguments");
    check(answer.choices[0].finish_reason === "tool_calls", "finish_reason");
  },
  async "required tool, streamed"() {
    const stream = client.chat.completions.stream({ ...base, tools, tool_choice: "required" });
    const answer = await stream.finalChatCompletion();
    check(answer.choices[0].message.tool_calls[0].function.name === "weather", "name");
  },
  async "tool results sent back"() {
    const called = await client.chat.completions.create({ ...base, tools, tool_choice: "required" });
    const { message } = called.choices[0];
    const result = { role: "tool", tool_call_id: message.tool_calls[0].id, content: "sunny" };
    const answer = await client.chat.completions.create({ ...base, tools, messages: [...messages, message, result] });
    check(answer.choices.length === 1, "choices");
  },
  async "runTools helper"() {
    const runner = client.chat.completions.runTools({
      ...base,
      tools: [{ type: "function", function: { name: "weather", parameters, parse: JSON.parse, function: () => "ok" } }],
    });
    await runner.done();
    check(runner.messages.length >= 2, "messages");
  },
  async "parse helper with a zod schema"() {
    const response_format = zodResponseFormat(Answer, "answer");
    const answer = await client.chat.completions.parse({ ...base, response_format });
    check(typeof answer.choices[0].message.parsed.yes === "boolean", "parsed");
  },
  async "log-probabilities and choices"() {
    const answer = await client.chat.completions.create({ ...base, max_tokens: 5, n: 2, logprobs: true, top_logprobs: 3 });
    check(answer.choices.length === 2, "choices");
    check(answer.choices[0].logprobs.content.every((one) => one.top_logprobs.length === 3), "top_logprobs");
  },
  async completions() {
    const answer = await client.completions.create({ model, prompt: "hi", max_tokens: 5 });
    check(answer.object === "text_completion", "object");
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model, input: ["a", "b"] });
    check(answer.data.length === 2 && answer.data[0].embedding.length > 1, "vectors");
  },
  async models() {
    const names = [];
    for await (const one of client.models.list()) names.push(one.id);
    check(names.includes(model) && (await client.models.retrieve(model)).id === model, "names");
  },
  async "unknown model"() {
    const error = await fails(OpenAI.NotFoundError, () => client.chat.completions.create({ ...base, model: "x" }));
    check(error.code === "model_not_found", error.code);
  },
  async "bad parameter, also streamed"() {
    for (const stream of [false, true]) {
      const error = await fails(OpenAI.BadRequestError, () =>
        client.chat.completions.create({ ...base, stream, temperature: 9 }),
      );
      check(error.param === "temperature", error.param);
    }
  },
  async "abort midway"() {
    const stream = await client.chat.completions.create({ ...base, stream: true });
    for await (const _ of stream) stream.controller.abort();
    await client.models.list();
  },
});
