// The console in a real browser, Debian's Chromium, before the real API and a registry of an
// installation. Any message on the browser's console, a violation of the page's policy say, fails.

import { allOf } from '@latchkey/registry';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { generateIdentity, identityToRecipient } from 'age-encryption';
import jsQR from 'jsqr';
import type { Locator, Page, Request, Route } from 'playwright-core';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { openInstallerStore } from '@latchkey/api/installers';
import { openTokenStore } from '@latchkey/api/tokens';
import { setDisabled } from '@latchkey/operations';
import { decryptManifest, parseLabel } from '@latchkey/provisioning';
import { drawQrCode } from '@latchkey/provisioning/qr-code';
import { newSecret } from '@latchkey/test-support/admin-fixture';
import { startProvider } from '@latchkey/test-support/oidc-provider';
import {
  CHROMIUM,
  collectMessages,
  enter,
  faultsOf,
  focused,
  id,
  launch,
  PASSWORD,
  pressOn,
  queryOf,
  signInAgain,
  STANDARDS,
  TIMEOUT_MS,
  typeInto,
  visit,
  visitByLink,
} from './browser.js';
import { ConsoleSite } from './console-site.js';
import { describeNode, JOINED, openPlant, SECOND, SECOND_ORDER, SILENT, UNKNOWN, UNPROVEN } from './plant.js';

/** Signs in at the provider, which asks for consent the first time. */
async function signInAtProvider(page: Page, name: string, origin: string): Promise<void> {
  await page.locator('input[name=login]').fill(name);
  await page.locator('input[name=password]').fill('any');
  await page.keyboard.press('Enter');
  await page.waitForURL((url) => url.origin === origin || url.pathname.startsWith('/interaction/'));
  const consent = page.getByRole('button', { name: 'Continue' });
  await expect
    .poll(
      async () => {
        if (new URL(page.url()).origin === origin) return true;
        if (await consent.isVisible()) await consent.click();
        return false;
      },
      { timeout: TIMEOUT_MS },
    )
    .toBe(true);
}

/** For this process, which serves the API too. */
function letTimePass(ms: number): void {
  const { now } = Date;
  vi.spyOn(Date, 'now').mockImplementation(() => now() + ms);
  onTestFinished(() => void vi.restoreAllMocks());
}

/** As a command on another machine does, through the gateway. */
function askAsCommand({ remoteSocket }: ConsoleSite, path: string, body: object): Promise<Record<string, unknown>> {
  const headers = { 'content-type': 'application/json', 'x-forwarded-for': '198.51.100.7' };
  return new Promise((resolve, reject) => {
    request({ socketPath: remoteSocket, path: `/v1/login/command${path}`, method: 'POST', headers, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (part: string) => (text += part));
      answer.on('end', () => resolve(JSON.parse(text) as Record<string, unknown>));
    })
      .on('error', reject)
      .end(JSON.stringify(body));
  });
}

/** There is no camera: what a canvas shows takes its place. Chromium on Linux reads no codes. */
async function showToCamera(page: Page, text: string): Promise<void> {
  const { size, path } = drawQrCode(text);
  await page.addInitScript(`
    navigator.mediaDevices.getUserMedia = async () => {
      const side = ${8 * size};
      const canvas = Object.assign(document.createElement('canvas'), { width: side, height: side });
      const context = canvas.getContext('2d');
      const show = () => {
        context.fillStyle = '#fff';
        context.fillRect(0, 0, side, side);
        context.setTransform(8, 0, 0, 8, 0, 0);
        context.stroke(new Path2D('${path}'));
        context.setTransform(1, 0, 0, 1, 0, 0);
      };
      show();
      setInterval(show, 50);
      return canvas.captureStream();
    };`);
}

/** Its pixels in rows: 1 is a light one. */
interface Picture {
  readonly width: number;
  readonly height: number;
  readonly light: string;
}

/** What a scanner reads from the picture of an element. */
async function scan(element: Locator): Promise<string | undefined> {
  const picture = (await element.screenshot()).toString('base64');
  const { width, height, light } = await element.page().evaluate<Picture>(
    `createImageBitmap(new Blob([Uint8Array.from(atob('${picture}'), (one) => one.charCodeAt(0))])).then((bitmap) => {
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext('2d');
      canvas.drawImage(bitmap, 0, 0);
      const { data, width, height } = canvas.getImageData(0, 0, bitmap.width, bitmap.height);
      return { width, height, light: Array.from({ length: width * height }, (_, at) => (data[4 * at] > 127 ? 1 : 0)).join('') };
    })`,
  );
  const pixels = Uint8ClampedArray.from({ length: 4 * width * height }, (_, at) =>
    at % 4 === 3 || light[Math.floor(at / 4)] === '1' ? 255 : 0,
  );
  return jsQR.default(pixels, width, height)?.data;
}

describe.skipIf(CHROMIUM === undefined)('the console (needs chromium)', { timeout: 6 * TIMEOUT_MS }, () => {
  it('says by keyboard alone why a node has not joined, and gives the focus back', async () => {
    const { page, fixture, messages } = await visitByLink();
    await page
      .getByRole('link', { name: /joined/ })
      .first()
      .waitFor();
    // An entry of the log appears by itself.
    await page.getByText('Live', { exact: true }).waitFor();
    await setDisabled(fixture.registry, [SECOND], true);
    await page
      .locator('.entries')
      .getByRole('link', { name: id(SECOND) })
      .waitFor();

    await page.keyboard.press('/');
    await page.keyboard.type('00:05:21:4E');
    await page.keyboard.press('Enter');
    const drawer = page.getByRole('dialog', { name: `Node ${id(UNPROVEN)}` });
    await drawer.locator('[data-cause]').waitFor();
    expect(await drawer.locator('[data-cause]').getAttribute('data-cause')).toBe('proof-missing');
    expect(queryOf(page)).toBe(`?node=${id(UNPROVEN)}`);
    await expect.poll(() => focused(page)).toContain(`heading "Node ${id(UNPROVEN)}"`);
    expect(await drawer.getByRole('region', { name: 'What to do' }).innerText()).toContain(`--id ${id(UNPROVEN)}`);
    expect(await drawer.getByRole('region', { name: 'What this was found from' }).innerText()).toMatch(
      /Asked\s+once, 5 min\. ago/,
    );

    await page.keyboard.press('Escape');
    await drawer.waitFor({ state: 'detached' });
    expect(queryOf(page)).toBe('');

    await page.keyboard.press('g');
    await page.keyboard.press('n');
    await page.getByRole('link', { name: id(SILENT) }).waitFor();
    await expect.poll(() => focused(page)).toContain('heading "Nodes"');
    await page.keyboard.press('j');
    await expect.poll(() => focused(page)).toContain(`link "${id(SILENT)}"`);
    await page.keyboard.press('Enter');
    await page.locator('[data-cause="never-asked"]').waitFor();
    await page.keyboard.press('j');
    await page.getByRole('dialog', { name: `Node ${id(UNPROVEN)}` }).waitFor();
    await page.keyboard.press('Escape');
    await expect.poll(() => focused(page)).toContain(`link "${id(UNPROVEN)}"`);

    await page.keyboard.press('?');
    const keys = page.getByRole('dialog', { name: 'Keyboard' });
    await keys.getByRole('row', { name: /g n/ }).waitFor();
    await page.keyboard.press('Escape');
    await keys.waitFor({ state: 'detached' });

    await page.keyboard.press('/');
    await page.keyboard.press('Enter');
    expect(await page.getByRole('alert').innerText()).toContain('Type the ID of a node');
    await page.keyboard.type('pump 3');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.locator('tbody tr').count()).toBe(1);
    await page.getByRole('cell', { name: 'Pump 3 <north>' }).waitFor();
    await page.getByRole('searchbox').fill('7a3');
    await page.keyboard.press('Enter');
    await page.getByText(`1 to 100 of ${SECOND_ORDER}`).waitFor();
    expect(messages).toEqual([]);
  });

  it('keeps filters and page in the URL, in two languages, and goes on after the end of a session', async () => {
    const { page, site, messages } = await visit('/nodes?state=joined&controller=00000002');
    const rows = page.locator('tbody tr');
    await expect.poll(() => rows.count()).toBe(3);
    await page.locator('.states').getByText('disabled').click();
    await expect.poll(() => queryOf(page)).toBe('?state=joined&state=disabled&controller=00000002');
    await page.getByLabel('Controller').fill('1');
    await page.getByRole('button', { name: 'Apply' }).click();
    await expect.poll(() => queryOf(page)).toBe('?state=joined&state=disabled&controller=00000001');
    await page.reload();
    await expect.poll(() => rows.count()).toBe(16);
    expect(await page.getByLabel('disabled').isChecked()).toBe(true);

    await page.goto(`${site.origin}/nodes?order=4`);
    await page.getByRole('link', { name: 'Next' }).click();
    await page.getByText(`101 to 200 of ${SECOND_ORDER}`).waitFor();
    await page.reload();
    await page.getByText(`101 to 200 of ${SECOND_ORDER}`).waitFor();
    await page.getByRole('link', { name: 'Next' }).click();
    await page.getByText(`201 to ${SECOND_ORDER} of ${SECOND_ORDER}`).waitFor();
    expect(await page.getByRole('link', { name: 'Next' }).count()).toBe(0);
    await page.goBack();
    await page.getByText(`101 to 200 of ${SECOND_ORDER}`).waitFor();
    // A cursor of before a restart of the API.
    await page.goto(`${site.origin}/nodes?order=4&after=AAAA&from=101`);
    await page.getByText(`1 to 100 of ${SECOND_ORDER}`).waitFor();

    // A day of the calendar leads to its nodes.
    await page.goto(`${site.origin}/calendar`);
    await page
      .getByRole('row', { name: /expired earlier 2/ })
      .getByRole('link')
      .click();
    await expect.poll(() => rows.count()).toBe(2);
    expect(queryOf(page)).toMatch(/^\?expires_before=/);
    await page.goBack();
    const weeksRequest = /calendar\?.*by=week/;
    // The row below an open week has its orders, under the same name.
    const weeks = page.getByRole('row', { name: /week from/ }).filter({ has: page.getByRole('rowheader') });
    const held: Route[] = [];
    await page.route(weeksRequest, (route) => void held.push(route));
    await page.locator('main select').selectOption('week');
    await expect.poll(() => queryOf(page)).toBe('?by=week');
    // Until the weeks are there, the days are still called days.
    await page.locator('[aria-busy=true]').waitFor();
    expect(await weeks.count()).toBe(0);
    for (const route of held) await route.continue();
    await page.unroute(weeksRequest);
    await weeks.first().waitFor();
    const nodesOf = async (row: Locator): Promise<number> => Number(await row.getByRole('cell').first().innerText());
    const counts = await Promise.all((await rows.all()).map(nodesOf));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(24);
    const last = counts.at(-1) ?? 0;
    // Which orders these are; the choice is in the URL, and a filter takes it away.
    const orders = page.getByRole('list', { name: /^Orders: week from/ });
    await weeks.last().getByRole('button').press('Enter');
    await orders.waitFor();
    await expect.poll(() => focused(page)).toMatch(/button "Orders: week from .*" \[expanded\]/);
    expect(queryOf(page)).toMatch(/^\?by=week&expires_from=.*&expires_before=/);
    await page.reload();
    const items = orders.getByRole('listitem');
    await items.first().waitFor();
    const perOrder = (await items.allInnerTexts()).map((text) => Number(text.split(/\s+/).at(-1)));
    expect(perOrder.reduce((sum, count) => sum + count, 0)).toBe(last);
    await items.filter({ hasText: '3 Kim & Sons' }).getByRole('link').click();
    await expect.poll(() => rows.count()).toBe(perOrder[0]);
    expect(queryOf(page)).toMatch(/^\?order=3&expires_from=/);
    await page.goBack();
    await items.first().waitFor();
    await weeks.last().getByRole('button').press('Enter');
    await orders.waitFor({ state: 'detached' });
    await expect.poll(() => queryOf(page)).toBe('?by=week');
    await weeks.last().getByRole('link').click();
    await expect.poll(() => rows.count()).toBe(last);
    await page.getByLabel('Expires').selectOption('');
    await expect.poll(() => queryOf(page)).toBe('');

    await page.goto(`${site.origin}/audit?what=node%20moved`);
    await expect.poll(() => rows.count()).toBe(3);
    await page.getByRole('button', { name: 'Preferences' }).click();
    await page.getByLabel('Language').selectOption('de');
    await page.getByRole('heading', { name: 'Protokoll', exact: true }).waitFor();
    expect(await page.locator('html').getAttribute('lang')).toBe('de');
    await page.keyboard.press('Escape');

    await page.getByLabel('Durch').fill('user a');
    site.endSessions();
    await page.getByRole('button', { name: 'Neu laden' }).click();
    const signIn = page.getByRole('dialog', { name: 'Anmelden' });
    expect(await signIn.getByLabel('Benutzer').inputValue()).toBe('ada');
    await signIn.getByLabel('Passwort').fill('wrong horse battery');
    await page.keyboard.press('Enter');
    await signIn.getByText('Benutzer oder Passwort ist falsch').waitFor();
    await signIn.getByLabel('Passwort').fill(PASSWORD);
    await page.keyboard.press('Enter');
    await signIn.waitFor({ state: 'detached' });
    expect(await page.getByLabel('Durch').inputValue()).toBe('user a');
    await page.getByRole('button', { name: 'Anwenden' }).click();
    await page.getByText('Kein Eintrag entspricht diesen Filtern').waitFor();

    await page.getByRole('button', { name: 'Einstellungen' }).click();
    await page.getByRole('button', { name: 'Abmelden' }).click();
    await page.getByRole('heading', { name: 'Anmelden' }).waitFor();
    expect(messages).toEqual([]);
  });

  it('changes what it showed, undoes it, and says when somebody else was faster', async () => {
    const { page, site, fixture, messages } = await visit(`/nodes?node=${id(SILENT)}`);
    const { registry } = fixture;
    const isDisabled = async (): Promise<boolean | undefined> => {
      await registry.refresh();
      const node = await registry.node(SILENT);
      node?.key.wipe();
      return node?.disabled;
    };
    const drawer = page.getByRole('dialog');
    await drawer.getByRole('button', { name: 'Disable' }).click();
    await page
      .getByRole('status')
      .getByText(`Node ${id(SILENT)} is disabled.`)
      .waitFor();
    await drawer.locator('[data-cause="disabled"]').waitFor();
    expect(await isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Undo' }).click();
    await drawer.locator('[data-cause="never-asked"]').waitFor();
    expect(await isDisabled()).toBe(false);
    await setDisabled(registry, [SILENT], true);
    await drawer.getByRole('button', { name: 'Disable' }).click();
    await drawer.getByText('Somebody has changed it in the meantime').waitFor();
    // The step of the diagnosis has a button as well.
    await drawer.getByRole('listitem').getByRole('button', { name: 'Enable' }).click();
    await drawer.locator('[data-cause="never-asked"]').waitFor();
    expect(await isDisabled()).toBe(false);

    await page.keyboard.press('Escape');
    await page.keyboard.press('g');
    await page.keyboard.press('r');
    await page.getByRole('row', { name: /Kim & Sons/ }).click();
    await drawer.getByRole('button', { name: 'Suspend' }).click();
    await page.getByText('Order 3 is suspended.').waitFor();
    await drawer.getByText('2 nodes have not joined').click();
    await page.getByRole('link', { name: id(SILENT) }).click();
    await drawer.locator('[data-cause="outside-join-window"]').waitFor();
    await drawer.getByRole('button', { name: 'Resume' }).click();
    await drawer.locator('[data-cause="never-asked"]').waitFor();
    await drawer.getByRole('link', { name: '3', exact: true }).first().click();
    await drawer.getByRole('button', { name: 'Close…' }).click();
    const confirmation = page.getByRole('dialog', { name: 'Close order 3 for good?' });
    expect(await confirmation.getByRole('button', { name: 'Close…' }).isDisabled()).toBe(true);
    await confirmation.getByLabel('Type 3 to confirm').fill('3');
    await page.keyboard.press('Enter');
    await page.getByText('Order 3 is closed.').waitFor();
    await registry.refresh();
    expect((await registry.order(3))?.state).toBe('closed');
    expect(fixture.entriesAfter(0).findLast(({ what }) => what === 'order closed')?.actor).toBe('user ada');

    // Many at once, with what takes the change back.
    const countDisabled = async (): Promise<number> => {
      await registry.refresh();
      const nodes = await allOf(registry.nodePages());
      return nodes.filter(({ order, disabled }) => order === 4 && disabled).length;
    };
    await page.goto(`${site.origin}/nodes?order=4`);
    await page.getByLabel('Choose all nodes of this page').check();
    await page.getByText('100 nodes are chosen').waitFor();
    await page.getByRole('button', { name: `Choose all ${SECOND_ORDER}` }).click();
    await page.getByRole('button', { name: 'Disable…' }).click();
    await page.getByRole('dialog').getByText(`It is about ${SECOND_ORDER} nodes.`).waitFor();
    await page.getByRole('button', { name: `Disable ${SECOND_ORDER} nodes` }).click();
    await page.getByText(`${SECOND_ORDER} nodes are disabled.`).waitFor();
    expect(await countDisabled()).toBe(SECOND_ORDER);
    await page.getByRole('button', { name: 'Undo' }).click();
    await expect.poll(countDisabled).toBe(0);
    await page.getByLabel(`Choose node ${id(SECOND)}`).check();
    await page.getByRole('button', { name: 'Remove…' }).click();
    const remove = page.getByRole('button', { name: 'Remove 1 node' });
    await remove.waitFor();
    expect(await remove.isDisabled()).toBe(true);
    await page.getByLabel('Type 1 to confirm').fill('1');
    await page.keyboard.press('Enter');
    await page.getByText('1 node is removed.').waitFor();
    await registry.refresh();
    expect(await registry.node(SECOND)).toBeUndefined();
    await page.keyboard.press('g');
    await page.keyboard.press('j');
    await expect.poll(() => page.locator('tbody tr').count()).toBe(3);
    // The page was loaded after its title: the focus is still there.
    await expect.poll(() => focused(page)).toContain('heading "Jobs"');
    await page
      .getByRole('row', { name: new RegExp(`${SECOND_ORDER} nodes changed`) })
      .first()
      .waitFor();
    expect(messages).toEqual([]);
  });

  it('orders nodes, and prints labels with keys that leave the page in no request', async () => {
    const { page, site, fixture, messages } = await visit('/');
    const { registry } = fixture;
    letTimePass(6 * 60_000);
    const requests: Request[] = [];
    page.on('request', (request) => requests.push(request));
    const identity = await generateIdentity();
    await page.goto(`${site.origin}/orders`);
    await page.getByRole('link', { name: 'New order' }).click();
    await expect.poll(() => focused(page)).toContain('heading "New order"');
    await page.getByLabel('Installer', { exact: true }).fill('Kim & Sons');
    await page.getByLabel('Controller').selectOption('00000001');
    await page.getByLabel('Nodes', { exact: true }).fill('3');
    await page.getByLabel('Site of the nodes').fill('Plant <2>');
    const recipients = page.getByLabel('Encrypt the manifest to the installer');
    await recipients.fill('age1nonsense');
    await page.getByRole('button', { name: 'Order 3 nodes' }).click();
    // Keys need a password that was given just now.
    const prompt = page.getByRole('dialog', { name: 'Your password again' });
    await prompt.getByLabel('Password').fill('wrong horse battery');
    await page.keyboard.press('Enter');
    await prompt.getByText('The password is wrong').waitFor();
    await prompt.getByLabel('Password').fill(PASSWORD);
    await page.keyboard.press('Enter');
    await expect.poll(() => recipients.getAttribute('aria-invalid')).toBe('true');
    await expect.poll(() => focused(page)).toContain('Encrypt the manifest to the installer');
    await recipients.fill(await identityToRecipient(identity));
    await page.getByRole('button', { name: 'Order 3 nodes' }).click();
    await page.getByRole('heading', { name: 'Order 5: 3 nodes' }).waitFor();
    await expect.poll(() => focused(page)).toContain('heading "Order 5: 3 nodes"');
    await registry.refresh();
    expect(await registry.order(5)).toMatchObject({ installer: 'Kim & Sons', site: 'Plant <2>', lifetime: 7_776_000 });

    const saved = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Save manifest.csv.age' }).click();
    const file = await readFile(await (await saved).path());
    const manifest = Buffer.from(await decryptManifest(file, 'file', { identities: [identity] })).toString();
    const lines = manifest.trim().split('\n').slice(1);

    const codes = page.locator('.labels svg');
    await expect.poll(() => codes.count()).toBe(3);
    expect(await faultsOf(page, STANDARDS)).toEqual([]);
    const wide = page.viewportSize()!;
    await page.setViewportSize({ width: 320, height: 640 });
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBe(0);
    await page.setViewportSize(wide);
    await page.emulateMedia({ media: 'print' });
    expect(
      await page.locator('h1, .top, .note, .actions').evaluateAll((all) => all.filter((one) => one.checkVisibility()).length),
    ).toBe(0);
    const keys: string[] = [];
    for (const code of await codes.all()) {
      const { idI, ik } = parseLabel((await scan(code)) ?? '', 'label');
      const node = await registry.node(idI);
      expect(node?.key.equals(ik)).toBe(true);
      expect(lines.some((line) => line.startsWith(id(idI)) && line.endsWith(ik.toHex()))).toBe(true);
      keys.push(ik.toHex());
    }
    expect(new Set(keys).size).toBe(3);
    const sizes: string[] = [];
    // As it is: the screen shows the page, and a PDF is printed.
    await page.emulateMedia({ media: null });
    for (const format of ['a4', 'sheet', 'roll']) {
      await page.getByLabel('Paper').selectOption(format);
      const pdf = (await page.pdf({ preferCSSPageSize: true })).toString('latin1');
      sizes.push(
        [...pdf.matchAll(/\/MediaBox \[0 0 (\d+)[.\d]* (\d+)/g)].map(([, width, height]) => `${width}x${height}`).join(' '),
      );
    }
    // In points: A4, and 62 mm by 31 mm for each label of a roll.
    expect(sizes).toEqual(['594x841', '594x841', '175x88 175x88 175x88']);

    // The recipient is stored for the next time, when the person sees whose it is.
    await page.keyboard.press('g');
    await page.keyboard.press('l');
    await page.getByLabel('Installer', { exact: true }).fill('Kim & Sons');
    await page.getByLabel('Recipients').fill(await identityToRecipient(identity));
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.getByRole('row', { name: /Kim & Sons .*age1/ }).waitFor();
    await page.goto(`${site.origin}/orders/5`);
    await page.getByRole('region', { name: 'By site' }).getByText('0 of 3 joined').waitFor();
    await page.getByRole('button', { name: 'Hand over again' }).click();
    await page.getByText(/^Stored for Kim & Sons .*, by user ada$/).waitFor();
    expect(await recipients.inputValue()).toBe(await identityToRecipient(identity));
    await recipients.fill('age1other');
    const use = page.getByRole('button', { name: 'Use the recipients that are stored for Kim & Sons' });
    await use.click();
    // Somebody swaps them now: what the person has seen counts.
    const installers = await openInstallerStore(registry.folder);
    onTestFinished(() => installers.close());
    const before = installers.findByName('Kim & Sons')!;
    const swapped = await identityToRecipient(await generateIdentity());
    expect(await installers.replace(before, { ...before, recipients: [swapped], revision: before.revision + 1 })).toBe(true);
    await page.locator('main h1').focus();
    await page.keyboard.press('r');
    await use.waitFor();
    const again = page.waitForEvent('download');
    await page.getByRole('button', { name: 'Hand over', exact: true }).click();
    await page.getByRole('button', { name: 'Save order-5.csv.age' }).click();
    const sealed = await readFile(await (await again).path());
    expect(Buffer.from(await decryptManifest(sealed, 'file', { identities: [identity] })).toString()).toBe(manifest);
    await expect.poll(() => codes.count()).toBe(3);
    expect(keys).toContain(parseLabel((await scan(codes.first())) ?? '', 'label').ik.toHex());
    site.endSessions();
    // The page may be loading something, and learn of it by itself.
    const reload = `document.querySelector('.page-head button').click()`;
    await expect
      .poll(async () => (await page.evaluate(reload), page.getByRole('dialog', { name: 'Sign in' }).isVisible()))
      .toBe(true);
    await expect.poll(() => codes.count()).toBe(0);

    const sent = requests.map((request) => JSON.stringify([request.url(), request.headers(), request.postData()])).join('\n');
    expect(sent).toContain('/v1/orders');
    for (const hex of keys) {
      const octets = Buffer.from(hex, 'hex');
      for (const written of [
        hex,
        hex.toUpperCase(),
        octets.toString('base64').slice(0, 20),
        octets.toString('base64url').slice(0, 20),
      ])
        expect(sent).not.toContain(written);
    }
    expect(messages).toEqual([]);
  });

  it('lets an installer on a phone scan a label, see why the node does not join, and name it', async () => {
    const phone = { viewport: { width: 320, height: 640 } };
    const { page, site, fixture, messages } = await visitByLink(phone, { installer: 'Kim & Sons' });
    const { registry } = fixture;
    const pages = page.getByRole('navigation', { name: 'Pages' });
    await expect.poll(() => pages.innerText()).toMatch(/^Nodes\s+Orders\s+Install$/);
    await page.keyboard.press('?');
    const keys = page.getByRole('dialog', { name: 'Keyboard' });
    await keys.getByRole('row', { name: /Go to Orders/ }).waitFor();
    expect(await keys.getByRole('row', { name: /Go to Audit|Go to Users|Go to Exposure/ }).count()).toBe(0);
    await page.keyboard.press('Escape');
    const key = '5b2e9d0c4f61a7384c1d9e0b7a6f5e4d';
    await showToCamera(page, `LATCHKEY:1/0005214E/00000001/${key.toUpperCase()}/192.0.2.1:5683`);
    const requests: Request[] = [];
    page.on('request', (request) => requests.push(request));
    await page.goto(`${site.origin}/install`);
    expect(await page.evaluate('typeof BarcodeDetector')).toBe('undefined');
    await page.getByRole('button', { name: 'Scan a label' }).click();
    await page.locator('[data-cause="proof-missing"]').waitFor();
    expect(queryOf(page)).toBe(`?id=${id(UNPROVEN)}`);
    await page.getByText('19 of 21 joined').waitFor();

    // Somebody else names it while this person types.
    const name = page.getByLabel('Name', { exact: true });
    await name.fill('Pump 9');
    await describeNode(fixture, UNPROVEN, { name: 'Pump 4' });
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText('Stored now: Pump 4, pillar 7').waitFor();
    expect(await name.inputValue()).toBe('Pump 9');
    await page.getByLabel('Place', { exact: true }).fill('pillar 8');
    // The next node comes too early: what was typed is there when the page comes back.
    await page.getByText('Not saved yet.').waitFor();
    await page.getByRole('link', { name: 'Next node' }).click();
    await page.goBack();
    expect(await name.inputValue()).toBe('Pump 9');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText(`Node ${id(UNPROVEN)} is described.`).waitFor();
    await registry.refresh();
    expect(await registry.nodeDescription(UNPROVEN)).toMatchObject({
      name: 'Pump 9',
      location: 'pillar 8',
      tags: ['pump', 'spare'],
    });
    // The page looks again by itself.
    await setDisabled(registry, [UNPROVEN], true);
    await page.locator('[data-cause="disabled"]').waitFor();
    expect(await faultsOf(page, STANDARDS)).toEqual([]);
    await page.emulateMedia({ colorScheme: 'dark' });
    expect(await faultsOf(page, ['color-contrast'])).toEqual([]);
    expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth')).toBe(0);

    // A scanner that types: into fields for something else, and a node of somebody else's order.
    const label = `latchkey:1/1905717b/00000001/${key}/192.0.2.1:5683`;
    await name.fill(label);
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('alert').getByText('Nothing was sent.').waitFor();
    expect(await name.inputValue()).toBe(label);
    await name.fill('');
    await page.getByLabel('Why has it not joined?').fill(label);
    await page.keyboard.press('Enter');
    await expect.poll(() => queryOf(page)).toBe(`?id=${id(UNPROVEN)}&node=1905717b`);
    await page.keyboard.press('Escape');
    await page.getByRole('link', { name: 'Next node' }).click();
    const field = page.getByLabel('ID on the label');
    await field.fill('1905');
    await page.keyboard.press('Enter');
    await page.getByText('Expected the 8 hex digits').waitFor();
    expect(await field.inputValue()).toBe('1905');
    await field.fill(label);
    await page.keyboard.press('Enter');
    await page.locator('[data-cause="joined"]').waitFor();
    await page.getByRole('link', { name: 'Next node' }).click();
    await field.fill(id(SECOND));
    await page.keyboard.press('Enter');
    await page.locator('[data-cause="unknown"]').waitFor();

    // Here, too, somebody else is faster. The log, which says who, is not for an installer.
    await page.goto(`${site.origin}/nodes?node=${id(UNPROVEN)}`);
    const drawer = page.getByRole('dialog');
    await drawer.getByText('What this was found from').waitFor();
    expect(await drawer.getByText('never heard').count()).toBe(0);
    expect(await drawer.getByRole('link', { name: '00000001' }).count()).toBe(0);
    await drawer.getByRole('button', { name: 'Edit…' }).click();
    await drawer.getByLabel('Name', { exact: true }).fill('Pump 10');
    await describeNode(fixture, UNPROVEN, { name: 'Pump 5' });
    await drawer.getByRole('button', { name: 'Save' }).click();
    await drawer.getByText('“Pump 9” → “Pump 5”').waitFor();
    await drawer.getByRole('button', { name: 'Save what I typed' }).click();
    await page.getByText(`Node ${id(UNPROVEN)} is changed.`).waitFor();
    const sent = requests.map((request) => JSON.stringify([request.url(), request.headers(), request.postData()])).join('\n');
    expect(sent).toContain('/v1/diagnoses/0005214e');
    expect(`${sent} ${await page.content()}`.toLowerCase()).not.toContain(key.slice(0, 8));
    expect(messages).toEqual([]);
  });

  it('shows who is unknown, and adds and removes a user, whose session then ends', async () => {
    const { page, site, messages } = await visit('/waiting');
    const row = page.getByRole('row', { name: id(UNKNOWN) });
    await row.getByRole('link', { name: id(UNPROVEN) }).waitFor();
    await row.getByRole('button', { name: 'Dismiss' }).click();
    await page.getByRole('heading', { name: 'Nobody waits' }).waitFor();

    // Longer ago than a change of users allows: the password is asked for again.
    letTimePass(6 * 60_000);
    await page.getByRole('button', { name: 'Preferences' }).click();
    await page.getByRole('link', { name: 'Users' }).click();
    await page.getByLabel('Name', { exact: true }).fill('bo');
    // An installer whose name no order has would see no node.
    await page.getByLabel('Role', { exact: true }).selectOption('installer');
    await page.getByLabel('Installer, as its orders have it').fill('Kim & Son');
    await page.getByText('No order has this installer so far').waitFor();
    await page.keyboard.type('s');
    await page.getByText('No order has this installer so far').waitFor({ state: 'detached' });
    await page.getByLabel('Role', { exact: true }).selectOption('operator');
    await page.getByRole('button', { name: 'Add' }).click();
    await page.getByRole('dialog').getByLabel('Password').fill(PASSWORD);
    await page.keyboard.press('Enter');
    const link = await page.getByRole('dialog', { name: 'Link for bo' }).locator('code').innerText();
    await page.keyboard.press('Escape');
    const bo = await enter(link, messages);
    await bo.getByRole('button', { name: 'Preferences' }).click();
    await bo.getByRole('link', { name: 'Jobs' }).waitFor();
    expect(await bo.getByRole('link', { name: 'Users' }).count()).toBe(0);
    await bo.goto(`${site.origin}/account`);
    await bo.getByRole('cell', { name: 'this one' }).waitFor();

    await page.getByRole('button', { name: 'Remove…' }).click();
    await page.getByLabel('Type bo to confirm').fill('bo');
    await page.keyboard.press('Enter');
    await page.getByText('User bo is removed.').waitFor();
    await bo.getByRole('button', { name: 'Reload' }).click();
    await bo.getByRole('dialog', { name: 'Sign in' }).waitFor();
    expect(messages).toEqual([]);
  });

  it('orders, hands over, changes many, adds a user, makes a token and verifies the log by keyboard alone', async () => {
    const { page, fixture, messages } = await visit('/orders');
    const { registry } = fixture;
    const goTo = async (key: string, title: string): Promise<void> => {
      // Leaves the field that has the focus.
      await page.keyboard.press('Escape');
      await page.keyboard.press('g');
      await page.keyboard.press(key);
      // The page may be loaded after its title.
      await expect.poll(() => focused(page)).toContain(`heading "${title}"`);
    };
    await page.getByRole('row', { name: /Kim & Sons/ }).waitFor();

    await pressOn(page, /link "New order/, 'Enter');
    await expect.poll(() => focused(page)).toContain('heading "New order"');
    await page.getByLabel('Controller').locator('option').nth(1).waitFor({ state: 'attached' });
    await typeInto(page, /textbox "Installer/, 'Kim & Sons');
    await pressOn(page, /combobox "Controller/, 'ArrowDown');
    await typeInto(page, /textbox "Nodes/, '2');
    await page.keyboard.press('Enter');
    await expect.poll(() => focused(page)).toContain('heading "Order 5: 2 nodes"');
    await expect.poll(() => page.locator('.labels svg').count()).toBe(2);
    await pressOn(page, /link "Go to order 5"/, 'Enter');
    await expect.poll(() => focused(page)).toContain('heading "Order 5"');
    await pressOn(page, /button "Hand over again/, 'Enter');
    await pressOn(page, /button "Hand over"/, 'Enter');
    await expect.poll(() => page.locator('.labels svg').count()).toBe(2);

    await page.keyboard.press('/');
    await page.keyboard.type('7a3');
    await page.keyboard.press('Enter');
    await page.getByText(`1 to 100 of ${SECOND_ORDER}`).waitFor();
    await pressOn(page, new RegExp(`checkbox "Choose node ${id(SECOND)}"`), 'Space');
    await page.keyboard.press('Shift+Tab');
    await page.getByText('1 node is chosen').waitFor();
    await page.evaluate(`document.querySelector('main h1').focus()`);
    await pressOn(page, /button "Site/, 'Enter');
    await typeInto(page, /textbox "Site/, 'Hall <3>');
    await page.keyboard.press('Enter');
    await page.getByText('they may have different sites now').waitFor();
    await pressOn(page, /button "Change 1 node"/, 'Enter');
    await page.getByText('1 node is changed.').waitFor();
    await registry.refresh();
    expect(await registry.nodeDescription(SECOND)).toMatchObject({ site: 'Hall <3>' });

    await goTo('u', 'Users');
    await page.getByRole('heading', { name: 'Add a user' }).waitFor();
    await typeInto(page, /textbox "Name/, 'bo');
    await page.keyboard.press('Enter');
    await page.getByRole('dialog', { name: 'Link for bo' }).waitFor();
    await page.keyboard.press('Escape');

    await goTo('t', 'API tokens');
    await page.getByRole('heading', { name: 'No tokens yet' }).waitFor();
    await page.getByText('The API takes no tokens now').waitFor();
    await typeInto(page, /textbox "Name/, 'monitoring');
    await pressOn(page, /checkbox "nodes/, 'Space');
    await pressOn(page, /Limit it to some orders/, 'Enter');
    await typeInto(page, /textbox "Orders/, '3, four');
    await page.keyboard.press('Enter');
    const orders = page.getByRole('textbox', { name: 'Orders (optional)', exact: true });
    await expect.poll(() => orders.getAttribute('aria-invalid')).toBe('true');
    await orders.focus();
    await page.keyboard.press('Control+a');
    await page.keyboard.type('3');
    await page.keyboard.press('Enter');
    const shown = page.getByRole('dialog', { name: 'Token monitoring' });
    const token = await shown.locator('code').innerText();
    expect(token).toMatch(/^lk_[a-z2-7]{66}$/);
    await page.keyboard.press('Escape');
    await page.getByRole('row', { name: /monitoring .* read, nodes/ }).waitFor();
    // It goes with its dialog, which closes after the key.
    await expect.poll(() => page.content()).not.toContain(token.slice(11));
    const tokens = await openTokenStore(registry.folder);
    onTestFinished(() => tokens.close());
    expect(await tokens.list()).toMatchObject([
      { name: 'monitoring', scopes: ['read', 'nodes'], limits: { orders: [3] }, createdBy: 'user ada' },
    ]);
    await page.evaluate(`document.querySelector('main h1').focus()`);
    await pressOn(page, /button "Revoke/, 'Enter');
    await page.keyboard.type(token.slice(3, 11));
    await page.keyboard.press('Enter');
    await page.getByText('Token monitoring is revoked.').waitFor();
    expect(await tokens.list()).toEqual([]);

    await goTo('a', 'Audit');
    const head = await page.locator('section .head code').first().innerText();
    await typeInto(page, /textbox "A head that was written down/, 'nothing');
    await page.keyboard.press('Enter');
    await page.getByText('Expected SEQ:HASH').waitFor();
    await page.getByLabel('A head that was written down').fill(head.replace(/.$/, (digit) => (digit === '0' ? '1' : '0')));
    await page.keyboard.press('Enter');
    await page.getByRole('alert').getByText('The log does not hold').waitFor();
    await page.getByLabel('Or a file that has it').setInputFiles({
      name: 'heads.txt',
      mimeType: 'text/plain',
      buffer: Buffer.from(`the plant's log\nHEAD ${head}\n`),
    });
    await expect.poll(() => page.getByLabel('A head that was written down').inputValue()).toBe(head);
    await pressOn(page, /button "Verify"/, 'Enter');
    await page.getByText('It goes on from the head that was written down.').waitFor();
    expect(messages).toEqual([]);
  });

  it('takes the steps that docs/CONSOLE.md counts for three tasks', async () => {
    const { page, site, fixture, messages } = await visit('/');
    const manual = await readFile(new URL('../../../docs/CONSOLE.md', import.meta.url), 'utf8');
    // In place of the dialog of the browser.
    await page.addInitScript('globalThis.print = () => { globalThis.isPrinted = true; };');
    await fixture.testServer(async (server) => {
      for (let count = 0; count < 3; count++)
        expect(await server.request(server.exchange(SILENT, newSecret(), { ts: Date.now() - 100_000 }), 'm2')).toBe('clock');
    }, Date.now());
    const screens = new Set<string>();
    page.on('framenavigated', () => screens.add(new URL(page.url()).pathname));
    const walk = async (title: string, from: string, steps: readonly (() => Promise<unknown>)[]): Promise<void> => {
      const [, section = ''] = manual.split(new RegExp(`^### ${title}`, 'm'));
      const [, stepCount, screenCount] = /^ (\d+) steps?, (\d+) screens?$/m.exec(section.split('\n')[0] ?? '') ?? [];
      expect([title, (section.split(/^##/m)[0] ?? '').match(/^\d+\. /gm)?.length]).toEqual([title, steps.length]);
      await page.goto(site.origin + from);
      await page.getByRole('button', { name: 'Preferences' }).waitFor();
      screens.clear();
      screens.add(from);
      for (const step of steps) await step();
      expect([title, stepCount, screenCount]).toEqual([title, String(steps.length), String(screens.size)]);
    };
    const drawer = page.getByRole('dialog');

    await walk('Why has a node not joined\\?', '/', [
      async () => {
        await page.keyboard.press('/');
        await page.keyboard.type(id(UNPROVEN));
        await page.keyboard.press('Enter');
      },
    ]);
    await drawer.getByText('It was answered, and proved nothing').waitFor();
    await drawer.getByRole('region', { name: 'What to do' }).waitFor();

    await walk('Order 40 nodes for an installer, and print the labels:', '/orders', [
      () => page.getByRole('link', { name: 'New order' }).click(),
      () => page.getByLabel('Installer', { exact: true }).fill('Kim & Sons'),
      () => page.getByLabel('Controller').selectOption('00000001'),
      () => page.getByLabel('Nodes', { exact: true }).fill('40'),
      () => page.getByRole('button', { name: 'Order 40 nodes' }).click(),
      () => page.getByRole('button', { name: 'Print 40 labels' }).click(),
    ]);
    expect(await page.evaluate('isPrinted')).toBe(true);
    expect(await page.locator('.labels svg').count()).toBe(40);

    await walk("Which controller's clock is wrong, and how many joins has it cost\\?", '/', [
      () => page.getByRole('listitem').filter({ hasText: 'Its clock is wrong' }).getByRole('link', { name: '00000001' }).click(),
    ]);
    await drawer.getByText('100 s behind').waitFor();
    await drawer.getByText('3 attempts to join were refused for it.').waitFor();
    await page.goto(`${site.origin}/?node=${id(SILENT)}`);
    await drawer.getByText(/^its clock is \d+ s behind$/).waitFor();
    expect(messages).toEqual([]);
  });

  it('keeps what was typed in a form when somebody else is faster, and when the session ends', async () => {
    const { page, site, fixture, messages } = await visit('/installers');
    const added = page.getByLabel('Installer', { exact: true });
    await added.fill('Bo Electric');
    await page.getByRole('button', { name: 'Edit Ada Installations' }).click();
    const form = page.getByRole('region', { name: 'Edit Ada Installations' });
    const [note, recipients] = [form.getByLabel('Note'), form.getByLabel('Recipients')];
    const newRecipient = async (): Promise<string> => identityToRecipient(await generateIdentity());
    const [typed, swapped] = [await newRecipient(), await newRecipient()];
    await note.fill('gate 3');
    await recipients.fill(`${await recipients.inputValue()}\n${typed}`);
    const installers = await openInstallerStore(fixture.registry.folder);
    onTestFinished(() => installers.close());
    const before = installers.findByName('Ada Installations')!;
    const others = { contact: '+49 30 99', recipients: [swapped], revision: before.revision + 1 };
    expect(await installers.replace(before, { ...before, ...others })).toBe(true);
    await form.getByRole('button', { name: 'Save' }).click();
    await form.getByRole('alert').getByText('Contact: “+49 30 1234” → “+49 30 99”').waitFor();
    expect(await note.inputValue()).toBe('gate 3');
    // No recipient that was withdrawn comes back.
    expect(await recipients.inputValue()).toBe(`${swapped}\n${typed}`);
    expect(await faultsOf(page, STANDARDS)).toEqual([]);
    await form.getByRole('button', { name: 'Save what I typed' }).click();
    await page.getByText('Installer Ada Installations is changed.').waitFor();
    const stored = { contact: '+49 30 99', note: 'gate 3', recipients: [swapped, typed] };
    expect(installers.findByName('Ada Installations')).toMatchObject(stored);
    expect(await added.inputValue()).toBe('Bo Electric');

    await page.goto(`${site.origin}/nodes?node=${id(SILENT)}`);
    await page.getByRole('button', { name: 'Edit…' }).click();
    const name = page.getByRole('dialog').getByLabel('Name', { exact: true });
    await name.fill('Valve 13');
    // Another node, or another page, is opened beside it: the text waits.
    await page.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('link', { name: id(SILENT) }).click();
    expect(await name.inputValue()).toBe('Valve 13');
    await describeNode(fixture, SILENT, { name: 'Valve 99', location: 'pillar 8' });
    await name.press('Enter');
    const conflict = page.getByRole('alert').filter({ hasText: 'Somebody has changed it' });
    await conflict.getByText('Name: “Valve 12” → “Valve 99”').waitFor();
    expect(await conflict.innerText()).toMatch(/by user ada: node described/);
    site.endSessions();
    await page.getByRole('button', { name: 'Save what I typed' }).click();
    await signInAgain(page);
    expect(await name.inputValue()).toBe('Valve 13');
    await page.getByRole('button', { name: 'Save what I typed' }).click();
    await page.getByText(`Node ${id(SILENT)} is changed.`).waitFor();
    await fixture.registry.refresh();
    const { node, description } = await fixture.registry.nodeInDetail(SILENT);
    node?.key.wipe();
    expect(description).toMatchObject({
      name: 'Valve 13',
      location: 'pillar 8',
      note: 'behind the <b>silo</b>',
    });
    // Something else of the node is no reason to ask.
    await page.getByRole('button', { name: 'Edit…' }).click();
    await page.getByRole('dialog').getByLabel('Note').fill('behind the gate');
    await setDisabled(fixture.registry, [SILENT], true);
    await page.getByRole('dialog').getByLabel('Note').press('Enter');
    await page.locator('.facts').getByText('behind the gate').waitFor();
    expect(messages).toEqual([]);
  });

  it('signs in, again and out in all tabs of a browser at once', async () => {
    const { page, site, messages } = await visit('/nodes');
    const open = async (path: string): Promise<Page> => {
      const tab = await page.context().newPage();
      tab.setDefaultTimeout(TIMEOUT_MS);
      collectMessages(tab, messages, site.origin);
      await tab.goto(site.origin + path);
      return tab;
    };
    const dialogOf = (tab: Page): Locator => tab.getByRole('dialog', { name: 'Sign in' });
    await page.getByRole('button', { name: /^Preferences ada/ }).waitFor();
    const other = await open('/orders');
    await other.getByRole('heading', { name: 'Orders' }).waitFor();

    site.endSessions();
    for (const tab of [page, other]) {
      await tab.getByRole('button', { name: 'Reload' }).click();
      await dialogOf(tab).waitFor();
    }
    await signInAgain(other);
    await dialogOf(page).waitFor({ state: 'detached' });
    await page
      .getByRole('link', { name: id(JOINED), exact: true })
      .first()
      .click();
    await page.getByRole('dialog', { name: id(JOINED) }).waitFor();

    await other.getByRole('button', { name: 'Preferences' }).click();
    await other.getByRole('button', { name: 'Sign out' }).click();
    await other.getByLabel('Password').waitFor();
    await dialogOf(page).getByText('Your session has ended').waitFor();
    // Nobody is left who could hand a session over.
    const last = await open('/orders');
    await last.getByLabel('Password').waitFor();
    expect(messages).toEqual([]);
  });

  it('signs a command in by the code that it shows, once the password was given again', async () => {
    const { page, site, messages } = await visit('/tokens', {}, true);
    const { code, secret } = await askAsCommand(site, '', { machine: 'laptop-7', context: 'plant', lifetime_seconds: 3_600 });
    letTimePass(6 * 60_000);
    await page.getByRole('link', { name: 'A command shows a code?' }).click();
    await page.getByLabel('Code').fill('BBBB-BBBB');
    // The title of the page may get the focus later than the field.
    await page.getByLabel('Code').press('Enter');
    await page.getByText('No command waits with this code').waitFor();
    await typeInto(page, /textbox "Code/, String(code).toLowerCase());
    await page.keyboard.press('Enter');
    await page.getByText('If somebody gave you this code').waitFor();
    expect((await page.locator('main dl').innerText()).split(/\s*\n\s*/)).toEqual([
      'Code',
      code,
      'Asks from',
      '198.51.100.7',
      'Says it is',
      'laptop-7',
      'Calls this server',
      'plant',
      'Asked',
      expect.any(String),
      'Signed in for',
      expect.stringContaining('1'),
    ]);
    expect(await faultsOf(page, STANDARDS)).toEqual([]);
    await page.getByLabel('controllers: changes controllers').uncheck();
    await page.getByRole('button', { name: 'Confirm' }).click();
    await page.getByRole('dialog').getByLabel('Password').fill(PASSWORD);
    await page.keyboard.press('Enter');
    await page.getByText('The command on laptop-7 goes on').waitFor();
    expect(await askAsCommand(site, '/token', { secret })).toMatchObject({
      state: 'confirmed',
      user: 'ada',
      scopes: ['read', 'audit', 'describe', 'nodes', 'orders'],
    });
    const other = await askAsCommand(site, '', { machine: 'other', context: 'plant' });
    await page.getByLabel('Code').fill(String(other['code']));
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Refuse' }).click();
    await page.getByText('The command on other gets nothing').waitFor();
    expect(await askAsCommand(site, '/token', { secret: other['secret'] })).toEqual({ state: 'refused' });
    expect(messages).toEqual([]);
  });

  it('signs a person in again at the provider, in another tab, and keeps what was typed', async () => {
    const fixture = await openPlant();
    const site = await ConsoleSite.start(fixture, async (origin) => (await startProvider(origin)).config);
    const messages: string[] = [];
    const signIn = async (person: string): Promise<Page> => {
      const context = await (await launch()).newContext({ locale: 'en-GB' });
      onTestFinished(() => context.close());
      context.setDefaultTimeout(TIMEOUT_MS);
      const page = await context.newPage();
      collectMessages(page, messages, site.origin);
      await page.goto(site.origin);
      await page.getByRole('button', { name: 'Sign in with your organisation' }).click();
      await signInAtProvider(page, person, site.origin);
      await page.getByRole('button', { name: 'Preferences' }).waitFor();
      return page;
    };
    await signIn('bo');
    const page = await signIn('ada');
    const context = page.context();
    await page.goto(`${site.origin}/users`);
    // The provider says what its persons may do, and signs them in.
    const other = page.getByRole('row', { name: /^oidc:bo/ });
    await other.getByText('at the sign-in provider').waitFor();
    expect(await other.getByRole('combobox').count()).toBe(0);
    expect(await other.getByRole('button').allInnerTexts()).toEqual(['Remove…']);
    const dialog = page.getByRole('dialog', { name: /^Sign in/ });
    const name = page.getByLabel('Name', { exact: true });
    const add = async (user: string): Promise<void> => {
      await name.fill(user);
      await page.getByLabel('Role', { exact: true }).selectOption('operator');
      await page.getByRole('button', { name: 'Add' }).click();
    };
    const openTab = async (): Promise<Page> => {
      const opened = context.waitForEvent('page');
      await dialog.getByRole('link', { name: 'in another tab' }).click();
      const tab = await opened;
      collectMessages(tab, messages, site.origin);
      return tab;
    };
    const signInInTab = async (): Promise<Page> => {
      const tab = await openTab();
      await signInAtProvider(tab, 'ada', site.origin);
      return tab;
    };

    const cookies = await context.cookies(site.origin);
    await site.ageSignIn(cookies.find(({ name: cookie }) => cookie === '__Host-latchkey')?.value ?? '');
    await add('kim');
    await dialog.getByText('What you typed here stays').waitFor();
    expect(await faultsOf(page, STANDARDS)).toEqual([]);
    const tab = await signInInTab();
    await tab.getByText('You are signed in. Go back').waitFor();
    // The page has gone on by itself with what it was asked for.
    await page.getByRole('dialog', { name: 'Link for kim' }).waitFor();
    await page.keyboard.press('Escape');
    // An answer that no page waits for has no effect.
    await tab.goto(`${site.origin}/sign-in?code=x&state=y`);
    await tab.getByText('does not answer').waitFor();
    await tab.close();

    // For this clock the provider has not asked now: its own is six minutes behind.
    letTimePass(6 * 60_000);
    await add('bo');
    const late = await signInInTab();
    for (const one of [page, late]) await one.getByText('auth_time of its ID token is of before').waitFor();
    await late.close();
    expect(await name.inputValue()).toBe('bo');
    await dialog.getByRole('button', { name: 'Cancel' }).click();

    site.endSessions();
    await page.getByRole('button', { name: 'Reload' }).click();
    await dialog.getByText('Your session has ended').waitFor();
    // The provider still knows the person, and asks nothing.
    const again = await openTab();
    await again.getByText('You are signed in. Go back').waitFor();
    await dialog.waitFor({ state: 'detached' });
    expect(await name.inputValue()).toBe('bo');
    await page.getByRole('row', { name: /^kim/ }).waitFor();
    expect(messages).toEqual([]);
  });
});
