// One completion, streamed, with the openai SDK. On 429 it waits 1, 2 and 4 seconds; 10 minutes for each try.
//   usage: node chat_openai.ts [MODEL] [TEXT]
import OpenAI from "openai";

const DELAYS = [1000, 2000, 4000];

// The SDK's own retries wait half a second at first; ours are the service's.
const client = new OpenAI({
  baseURL: `${process.env.LITELLM_PROXY_URL}/v1`,
  apiKey: process.env.LITELLM_MASTER_KEY,
  timeout: 600_000,
  maxRetries: 0,
});

async function open(model: string, text: string) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await client.chat.completions.create({
        model,
        messages: [{ role: "user", content: text }],
        stream: true,
      });
    } catch (error) {
      if (!(error instanceof OpenAI.RateLimitError) || attempt >= DELAYS.length) throw error;
      console.error(`429, trying again in ${DELAYS[attempt] / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, DELAYS[attempt]));
    }
  }
}

const [model = "gpt-5-mini", text = "Say hello."] = process.argv.slice(2);
try {
  for await (const chunk of await open(model, text)) {
    process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
  }
  process.stdout.write("\n");
} catch (error) {
  console.error(error instanceof OpenAI.APIError ? error.message : error);
  process.exitCode = 1;
}
