// Reads a document with AsyncAPI's own parser, and holds its examples against their schemas, which that parser does not do in version
// 3 of AsyncAPI. Says what is wrong, a line each.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [tools, path] = process.argv.slice(2);
const installed = createRequire(join(tools, 'package.json'));
const { Parser } = installed('@asyncapi/parser');
const Ajv = installed('ajv');
const addFormats = installed('ajv-formats');

const { document, diagnostics } = await new Parser().parse(readFileSync(path, 'utf8'), { source: path });
// Severity 0 is an error, 1 a warning.
const wrong = diagnostics.filter((one) => one.severity <= 1).map((one) => `${one.code} at ${one.path.join('/')}: ${one.message}`);
let examples = 0;
for (const message of document?.messages() ?? []) {
    // The parser adds keywords of its own to schemas.
    const ajv = addFormats(new Ajv({ strict: false }));
    for (const format of ['int32', 'int64', 'uint']) {
        ajv.addFormat(format, true);
    }
    const matches = ajv.compile(message.payload().json());
    for (const example of message.examples()) {
        examples += 1;
        if (!matches(example.payload())) {
            wrong.push(`the example of ${message.name()}: ${ajv.errorsText(matches.errors)}`);
        }
    }
}
wrong.forEach((line) => console.log(line));
if (document) {
    console.log(`version ${document.version()}: ${document.channels().length} channels, ${document.messages().length} messages, ${examples} examples`);
}
process.exit(document && wrong.length === 0 ? 0 : 1);
