#!/usr/bin/env node
// A notifier for foreman that posts each event's sentence to a URL. It is made
// from foreman.proto alone, a copy of which lies beside it.
import { Server, ServerCredentials, loadPackageDefinition, status } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { HealthImplementation } from 'grpc-health-check'
import { rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

let url // set by configure

function configure({ request }, reply) {
  try {
    const { url: wanted, ...others } = JSON.parse(request.settings)
    const unknown = Object.keys(others)
    if (unknown.length > 0) throw new Error(`there is no setting ${JSON.stringify(unknown[0])}`)
    url = new URL(wanted)
    reply(null, { plugin_version: '1.0.0' })
  } catch (error) {
    reply({ code: status.INVALID_ARGUMENT, details: `the settings can't be used: ${error.message}` })
  }
}

async function notify(call, reply) {
  const abort = new AbortController()
  call.on('cancelled', () => abort.abort(new Error('it was canceled')))
  // Before the deadline: what comes after it looks like a plugin that hangs.
  const left = (call.getDeadline() - Date.now()) * 0.9
  const timer = setTimeout(() => abort.abort(new Error('no answer in time')), Math.min(left, 2 ** 31 - 1))
  try {
    const answer = await fetch(url, {
      method: 'POST', body: call.request.event.sentence, redirect: 'error', signal: abort.signal,
    })
    await answer.body?.cancel()
    if (!answer.ok) throw new Error(`it answers with status ${answer.status}`)
    reply(null, {})
  } catch (error) {
    reply({ code: status.UNKNOWN, details: `post to ${url?.host}: ${error.cause?.message || error.message}` })
  } finally {
    clearTimeout(timer)
  }
}

if (process.env.FOREMAN_PLUGIN !== 'f0e5bd62') {
  console.error('this is a plugin: foreman starts it, once a table [notify.NAME] has plugin = "post"')
  process.exit(1)
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {})

const socket = `${process.env.PLUGIN_UNIX_SOCKET_DIR}/post`
new Socket({ fd: Number(process.env.FOREMAN_LIFELINE_FD), writable: false })
  .on('error', () => {})
  .on('close', () => {
    rmSync(socket, { force: true }) // foreman does it too, unless it was killed
    process.exit(0)
  })
  .resume()

const contract = loadSync(fileURLToPath(new URL('foreman.proto', import.meta.url)), { keepCase: true })
const server = new Server({ 'grpc.max_receive_message_length': 64 << 20 })
server.addService(loadPackageDefinition(contract).foreman.plugin.v1.Notifier.service, { Configure: configure, Notify: notify })
new HealthImplementation({ plugin: 'SERVING' }).addToServer(server)
server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) => {
  if (error) throw error
  process.stdout.write(`1|1|unix|${socket}|grpc\n`)
})
