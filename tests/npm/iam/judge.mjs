// Has @cloud-copilot/iam-simulate judge what stdin asks, a JSON list; answers with one: true, false, or what it says is
// wrong with the question. A trust policy is judged as what its role may do: the simulator knows no key `…:sub`.
import { readFileSync } from 'node:fs'
import { runSimulation, runUnsafeSimulation } from '@cloud-copilot/iam-simulate'

const answers = []
for (const { policies, action, resource, context, checked } of JSON.parse(readFileSync(0, 'utf8'))) {
  const simulation = {
    request: {
      principal: 'arn:aws:iam::123456789012:role/somebody',
      action,
      resource: { resource, accountId: '123456789012' },
      contextVariables: context,
    },
    identityPolicies: policies.map((policy, at) => ({ name: `policy-${at}`, policy })),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  }
  const found = checked ? await runSimulation(simulation, {}) : runUnsafeSimulation(simulation, {})
  if (!checked) answers.push(found === 'Allowed')
  else answers.push(found.resultType === 'error' ? JSON.stringify(found.errors) : found.overallResult === 'Allowed')
}
console.log(JSON.stringify(answers))
