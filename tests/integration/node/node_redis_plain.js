// node-redis on one port, in RESP2 and RESP3.
import { createClient, createClientPool, WatchError } from 'redis';
import { assert, host, port, rejects, run } from './check.js';

async function connect(options = {}) {
    const client = createClient({
        socket: { host, port: Number(port), reconnectStrategy: false }, ...options,
    });
    client.on('error', (error) => { throw error; });
    return client.connect();
}

async function check(RESP) {
    const client = await connect({ RESP });
    await client.flushAll();
    assert.equal(await client.set('a', '1'), 'OK');
    assert.equal(await client.get('a'), '1');
    assert.equal(await client.get('absent'), null);
    assert.equal(await client.set('a', '2', { condition: 'NX' }), null);
    const names = Array.from({ length: 200 }, (_, n) => `key:${n}`);
    await client.mSet(names.map((name, n) => [name, String(n)]));
    assert.deepEqual([...await client.mGet(names)], names.map((_, n) => String(n)));
    assert.deepEqual(await Promise.all(names.map((name) => client.incr(name))),
        names.map((_, n) => n + 1));
    await rejects(client.sendCommand(['NOSUCH']), /unknown command/);
    await client.set('t', 'x');
    await rejects(client.incr('t'), /not an integer/);

    assert.deepEqual([...await client.multi().set('m', '1').incr('m').get('m').exec()],
        ['OK', 2, '2']);
    const other = await connect({ RESP });
    await client.watch('m');
    await other.incr('m');
    await assert.rejects(client.multi().ping().exec(), WatchError);

    const scanned = new Set();
    for await (const batch of client.scanIterator({ MATCH: 'key:*', COUNT: 20 })) {
        batch.forEach((name) => scanned.add(name));
    }
    assert.equal(scanned.size, 200);
    assert.equal(await client.bitCount('t'), 4);
    assert.equal(await client.ttl('t'), -1);
    assert.equal(await client.expire('t', 100), 1);
    assert.equal((await client.configGet('port')).port, String(port));
    assert.match(await client.info('server'), /redis_version:/);
    assert.equal(await client.dbSize(), 203);
    assert.ok((await client.clientList()).length >= 2);
    assert.ok((await client.commandCount()) > 50);
    const three = await connect({ RESP, database: 3, name: 'node' });
    assert.equal(await three.clientGetName(), 'node');
    assert.equal(await three.dbSize(), 0);
    await Promise.all([client, other, three].map((each) => each.close()));
}

run(async () => {
    await check(2);
    await check(3);
    const pool = await createClientPool({ socket: { host, port: Number(port) } })
        .on('error', (error) => { throw error; }).connect();
    const replies = await Promise.all(Array.from({ length: 500 }, () => pool.incr('pooled')));
    assert.deepEqual(replies.map(Number).sort((a, b) => a - b),
        Array.from({ length: 500 }, (_, n) => n + 1));
    await pool.close();
});
