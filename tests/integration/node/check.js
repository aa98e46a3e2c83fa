// What the client programs share: arguments, assertions that name what differs, a status.
import assert from 'node:assert/strict';
import { crc16Slot } from './slots.js';

export { assert, crc16Slot };

export const [host, port, extra] = process.argv.slice(2);

// Runs the program's body; any error is printed and gives status 1.
export async function run(body) {
    const limit = setTimeout(() => {
        console.error('no end after 30 s');
        process.exit(1);
    }, 30000);
    try {
        await body();
        console.log('fine');
        clearTimeout(limit);
        process.exit(0);
    } catch (error) {
        console.error(error);
        process.exit(1);
    }
}

export async function rejects(promise, text) {
    let reply;
    try {
        reply = await promise;
    } catch (error) {
        assert.match(String(error.message), text);
        return;
    }
    assert.fail(`answered ${JSON.stringify(reply)} instead of ${text}`);
}
