// ioredis Cluster on a port for each core: discovery, routing, pipelines, redirections.
import Redis from 'ioredis';
import { assert, crc16Slot, extra, host, port, rejects, run } from './check.js';

run(async () => {
    const owners = Number(extra);
    const cluster = new Redis.Cluster([{ host, port: Number(port) }], {
        redisOptions: { maxRetriesPerRequest: 1 }, slotsRefreshTimeout: 5000,
        clusterRetryStrategy: () => null,
    });
    await cluster.set('first', '1');
    assert.equal(cluster.nodes('master').length, owners);
    const names = Array.from({ length: 300 }, (_, n) => `key:${n}`);
    await Promise.all(names.map((name, n) => cluster.set(name, n)));
    assert.deepEqual(await Promise.all(names.map((name) => cluster.get(name))),
        names.map((_, n) => String(n)));
    assert.deepEqual(await Promise.all(names.map((name) => cluster.incr(name))),
        names.map((_, n) => n + 1));
    await cluster.mset('{tag}a', 1, '{tag}b', 2);
    assert.deepEqual(await cluster.mget('{tag}a', '{tag}b'), ['1', '2']);
    const [far] = names.filter((name) => crc16Slot(name) !== crc16Slot('{tag}a'));
    await rejects(cluster.mget('{tag}a', far), /CROSSSLOT/);
    const results = await cluster.pipeline().incr('{tag}a').incr('{tag}b').get('{tag}a').exec();
    assert.deepEqual(results, [[null, 2], [null, 3], [null, '2']]);
    assert.deepEqual(await cluster.multi().incr('{tag}a').get('{tag}a').exec(),
        [[null, 3], [null, '3']]);
    const sizes = await Promise.all(cluster.nodes('master').map((node) => node.dbsize()));
    assert.equal(sizes.reduce((sum, size) => sum + size, 0), 303);
    const found = await Promise.all(cluster.nodes('master').map((node) => node.keys('key:*')));
    assert.equal(new Set(found.flat()).size, 300);
    // A node that is asked for a foreign slot redirects, and the cluster client never needs it.
    const [wrong] = cluster.nodes('master');
    const errors = await Promise.all(names.slice(0, 40).map((name) =>
        wrong.get(name).then(() => '', (error) => error.message)));
    assert.ok(errors.some((text) => text.startsWith('MOVED ')));
    await Promise.all(cluster.nodes('master').map((node) => node.flushall()));
    cluster.disconnect();
});
