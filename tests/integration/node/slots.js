// Hash slots as Redis counts them: CRC16 (XMODEM) of the key or of its {tag}, modulo 16384.
export function crc16Slot(key) {
    const open = key.indexOf('{');
    if (open >= 0) {
        const close = key.indexOf('}', open + 1);
        if (close > open + 1) {
            key = key.slice(open + 1, close);
        }
    }
    let crc = 0;
    for (const byte of Buffer.from(key)) {
        crc ^= byte << 8;
        for (let bit = 0; bit < 8; bit++) {
            crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
        }
    }
    return crc % 16384;
}
