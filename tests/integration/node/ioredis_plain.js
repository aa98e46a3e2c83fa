// ioredis on one port: commands, pipelines, transactions, binary data, auto-pipelining, monitor.
import Redis from 'ioredis';
import { assert, host, port, rejects, run } from './check.js';

const connect = (options = {}) => new Redis({
    host, port, lazyConnect: false, maxRetriesPerRequest: 1, retryStrategy: null, ...options,
});

run(async () => {
    const redis = connect();
    await redis.flushall();
    assert.equal(await redis.set('a', '1'), 'OK');
    assert.equal(await redis.get('a'), '1');
    assert.equal(await redis.set('a', '2', 'NX'), null);
    assert.equal(await redis.set('a', '3', 'EX', 100, 'GET'), '1');
    const names = Array.from({ length: 200 }, (_, n) => `key:${n}`);
    assert.equal(await redis.mset(Object.fromEntries(names.map((name, n) => [name, n]))), 'OK');
    assert.deepEqual(await redis.mget(names), names.map((_, n) => String(n)));
    await rejects(redis.call('NOSUCH', 'x'), /unknown command/);
    await rejects(redis.incr('a').then(() => redis.set('t', 'x')).then(() => redis.incr('t')),
        /not an integer/);

    // Many commands at once, answered in order.
    const replies = await Promise.all(names.map((name) => redis.incr(name)));
    assert.deepEqual(replies, names.map((_, n) => n + 1));

    const pipeline = redis.pipeline();
    names.forEach((name) => pipeline.get(name).incr(name));
    pipeline.lpush();
    const results = await pipeline.exec();
    assert.equal(results.length, 401);
    names.forEach((_, n) => {
        assert.deepEqual(results[2 * n], [null, String(n + 1)]);
        assert.deepEqual(results[2 * n + 1], [null, n + 2]);
    });
    assert.ok(results[400][0] instanceof Error);

    const done = await redis.multi().set('m1', '1').incr('m1').mget('m1', 'a').exec();
    assert.deepEqual(done, [[null, 'OK'], [null, 2], [null, ['2', '4']]]);
    const other = connect();
    await redis.watch('m1');
    await other.incr('m1');
    assert.equal(await redis.multi().ping().exec(), null);

    const binary = Buffer.from(Array.from({ length: 1000 }, (_, n) => n % 256));
    await redis.set(Buffer.from([0, 13, 10, 255]), binary);
    assert.deepEqual(await redis.getBuffer(Buffer.from([0, 13, 10, 255])), binary);

    let scanned = new Set();
    for await (const batch of redis.scanStream({ match: 'key:*', count: 17 })) {
        batch.forEach((name) => scanned.add(name));
    }
    assert.equal(scanned.size, 200);

    const auto = connect({ enableAutoPipelining: true });
    assert.deepEqual(await Promise.all(names.map((name) => auto.get(name))),
        names.map((_, n) => String(n + 2)));

    const monitor = await connect().monitor();
    const seen = new Promise((resolve) => {
        monitor.on('monitor', (_time, args) => {
            if (args[1] === 'watched') {
                resolve(args);
            }
        });
    });
    await redis.set('watched', 'yes');
    assert.deepEqual(await seen, ['set', 'watched', 'yes']);

    const three = connect({ db: 3, connectionName: 'node' });
    assert.equal(await three.dbsize(), 0);
    assert.equal(await three.client('GETNAME'), 'node');
    assert.match(await redis.info('server'), /redis_version:/);
});
