/** A line of an order, with the columns of the order. */
export interface Line {
  number: string;
  customer: string;
  address: string;
  total: string;
  currency: string;
  name: string;
  quantity: number;
  price: string;
  applied: boolean;
}

const ESCAPES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]);
}

function money(minorUnits: number, currency: string): string {
  return `${(minorUnits / 100).toFixed(2)} ${currency}`;
}

/** Returns a mail in text and HTML. Seeded orders are ASCII, so nothing needs an encoding. */
export function composeMail(id: string, subject: string, message: string, lines: Line[]): string {
  const [{ number, customer, address, total, currency }] = lines;
  const rows = lines.map((line) => ({
    name: line.name, quantity: line.quantity, amount: money(Number(line.price) * line.quantity, currency),
  }));
  const sum = money(Number(total), currency);
  const page = `https://shop.example/orders/${number}`;
  return [
    'From: Orderflow <orders@shop.example>',
    `To: "${customer}" <${address}>`,
    `Subject: ${subject} ${number}`,
    `Message-ID: <${id}>`,
    `Date: ${new Date().toUTCString()}`,
    'Auto-Submitted: auto-generated',
    'MIME-Version: 1.0',
    `Content-Type: multipart/alternative; boundary="${number}"`,
    '',
    `--${number}`,
    'Content-Type: text/plain; charset=utf-8',
    '',
    `Hello ${customer},`,
    '',
    message,
    '',
    ...rows.map((row) => `${row.quantity} x ${row.name}: ${row.amount}`),
    `Total: ${sum}`,
    '',
    `Your order ${number}, always up to date: ${page}`,
    `--${number}`,
    'Content-Type: text/html; charset=utf-8',
    '',
    '<!doctype html><html lang="en"><head><meta charset="utf-8">',
    `<title>${escape(subject)} ${number}</title></head>`,
    '<body style="background:#fbf7f0;color:#2a211b;font-family:system-ui,sans-serif;line-height:1.55">',
    `<h1>${escape(subject)}</h1><p>Hello ${escape(customer)},</p><p>${escape(message)}</p>`,
    '<table><tr><th>Item</th><th>Quantity</th><th>Price</th></tr>',
    ...rows.map((row) => `<tr><td>${escape(row.name)}</td><td>${row.quantity}</td><td>${row.amount}</td></tr>`),
    `<tr><th colspan="2">Total</th><td>${sum}</td></tr></table>`,
    `<p><a href="${page}">See your order</a></p></body></html>`,
    `--${number}--`,
    '',
  ].join('\r\n');
}
