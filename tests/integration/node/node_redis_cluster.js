// node-redis' cluster client on a port for each core.
import { createCluster } from 'redis';
import { assert, extra, host, port, run } from './check.js';

run(async () => {
    const cluster = createCluster({ rootNodes: [{ socket: { host, port: Number(port) } }] });
    cluster.on('error', (error) => { throw error; });
    await cluster.connect();
    assert.equal(cluster.masters.length, Number(extra));
    const names = Array.from({ length: 300 }, (_, n) => `key:${n}`);
    await Promise.all(names.map((name, n) => cluster.set(name, String(n))));
    assert.deepEqual(await Promise.all(names.map((name) => cluster.get(name))),
        names.map((_, n) => String(n)));
    await cluster.mSet([['{tag}a', '1'], ['{tag}b', '2']]);
    assert.deepEqual([...await cluster.mGet(['{tag}a', '{tag}b'])], ['1', '2']);
    assert.deepEqual([...await cluster.multi().incr('{tag}a').get('{tag}a').exec()], [2, '2']);
    const sizes = await Promise.all(cluster.masters.map(async (master) =>
        (await cluster.nodeClient(master)).dbSize()));
    assert.equal(sizes.reduce((sum, size) => sum + size, 0), 302);
    await cluster.close();
});
