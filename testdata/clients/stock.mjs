// Does with the official packages what their users do, against the server at
// the URL that is its argument, and prints all that came back as JSON.
// Whatever differs from one answer to the next is told by its type.
import { Ollama } from 'ollama'
import OpenAI from 'openai'

const url = process.argv[2]
const ollama = new Ollama({ host: url })
const openai = new OpenAI({ baseURL: url + '/v1', apiKey: 'ollama', maxRetries: 0 })

const messages = [{ role: 'user', content: 'why is the sky blue?' }]
const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object', properties: {} } } }]

const changes = /^(id|created|created_at|expires_at|.*_duration)$/
const steady = (key, value) => (changes.test(key) ? typeof value : value)

// Neither server promises an order of models made in the same second.
const sorted = (models, key) => models.toSorted((a, b) => (a[key] < b[key] ? -1 : 1))

async function all(stream) {
  const parts = []
  for await (const part of await stream) parts.push(part)
  return parts
}

// failure is what a user sees of a call that mustn't work.
async function failure(call) {
  try {
    await call
  } catch (e) {
    return { name: e.constructor.name, status: e.status ?? e.status_code, message: e.message, error: e.error }
  }
  throw new Error('a call of a missing model works')
}

// left is what a user sees who leaves a stream that has no end.
async function left() {
  const stream = await ollama.generate({ model: 'tiny-loop', prompt: 'why', stream: true })
  let parts = 0
  try {
    for await (const _ of stream) if (++parts === 5) stream.abort()
  } catch (e) {
    return e.name
  }
  throw new Error('a stream that was left ends well')
}

const answers = {
  ollama: {
    version: await ollama.version(),
    list: sorted((await ollama.list()).models, 'name'),
    show: await ollama.show({ model: 'tiny' }),
    chat: await ollama.chat({ model: 'tiny', messages }),
    chatStreamed: await all(ollama.chat({ model: 'tiny', messages, stream: true })),
    chatWithTools: await ollama.chat({ model: 'tiny-tools', messages, tools }),
    generate: await ollama.generate({ model: 'me/tiny:v1', prompt: 'why' }),
    generateStreamed: await all(ollama.generate({ model: 'TINY:Latest', prompt: 'why', stream: true })),
    embed: await ollama.embed({ model: 'tiny-embed', input: ['why', 'how'] }),
    embeddings: await ollama.embeddings({ model: 'tiny-embed', prompt: 'why' }),
    left: await left(),
    // Ollama itself now and then hangs on a model that was left so, until that is loaded anew (seen with 0.17.4).
    unload: await ollama.generate({ model: 'tiny-loop', prompt: '', keep_alive: 0 }),
    afterThat: await ollama.generate({ model: 'tiny-loop', prompt: 'why', options: { num_predict: 3 } }),
  },
  openai: {
    list: sorted((await openai.models.list()).data, 'id'),
    retrieve: await openai.models.retrieve('tiny:latest'),
    chat: await openai.chat.completions.create({ model: 'tiny', messages }),
    chatStreamed: await all(
      openai.chat.completions.create({ model: 'tiny', messages, stream: true, stream_options: { include_usage: true } }),
    ),
    chatWithTools: await openai.chat.completions.create({ model: 'tiny-tools', messages, tools }),
    completion: await openai.completions.create({ model: 'tiny', prompt: 'why' }),
    completionStreamed: await all(openai.completions.create({ model: 'tiny', prompt: 'why', stream: true })),
    embeddings: await openai.embeddings.create({ model: 'tiny-embed', input: ['why', 'how'] }),
  },
}

const missing = {
  'ollama chat': await failure(ollama.chat({ model: 'tinny', messages })),
  'ollama chat, streamed': await failure(ollama.chat({ model: 'tinny', messages, stream: true })),
  'ollama generate': await failure(ollama.generate({ model: 'tinny', prompt: 'why' })),
  'ollama show': await failure(ollama.show({ model: 'tinny' })),
  'ollama embed': await failure(ollama.embed({ model: 'tinny', input: 'why' })),
  'openai chat': await failure(openai.chat.completions.create({ model: 'tinny', messages })),
  'openai chat, streamed': await failure(openai.chat.completions.create({ model: 'tinny', messages, stream: true })),
  'openai embeddings': await failure(openai.embeddings.create({ model: 'tinny', input: 'why' })),
}

console.log(JSON.stringify({ answers, missing }, steady))
