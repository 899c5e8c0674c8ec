// One completion with axios. On 429 it waits 1, 2 and 4 seconds; 10 minutes for each try.
//   usage: node chat_axios.ts [MODEL] [TEXT]
import axios from "axios";

const { LITELLM_PROXY_URL, LITELLM_MASTER_KEY } = process.env;
const DELAYS = [1000, 2000, 4000];

const client = axios.create({
  baseURL: LITELLM_PROXY_URL,
  headers: { Authorization: `Bearer ${LITELLM_MASTER_KEY}` },
  timeout: 600_000,
});

async function chat(model: string, text: string): Promise<string> {
  const body = { model, messages: [{ role: "user", content: text }] };
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await client.post("/v1/chat/completions", body);
      return response.data.choices[0].message.content;
    } catch (error) {
      const limited = axios.isAxiosError(error) && error.response?.status === 429;
      if (!limited || attempt >= DELAYS.length) throw error;
      console.error(`429, trying again in ${DELAYS[attempt] / 1000} s`);
      await new Promise((resolve) => setTimeout(resolve, DELAYS[attempt]));
    }
  }
}

const [model = "gpt-5-mini", text = "Say hello."] = process.argv.slice(2);
try {
  console.log(await chat(model, text));
} catch (error) {
  // Not the whole error: axios keeps the request in it, and with it the key.
  console.error(axios.isAxiosError(error) ? `${error.message}: ${JSON.stringify(error.response?.data)}` : error);
  process.exitCode = 1;
}
