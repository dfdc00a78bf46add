/** A new order: installer, number of nodes, terms, and recipients of the keys. */

import type { ControllerView } from '@latchkey/operations/contract';
import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Problem } from '../api.js';
import { healthOf } from '../controller-health.js';
import { browserZone } from '../format.js';
import { type InstallerList, installerNamed, INSTALLERS } from '../installer-draft.js';
import { forgetDraft, hasDraft, useKeptDraft } from '../kept-drafts.js';
import { mayHaveBegun, NEW_ORDER, orderRequest, type OrderTerms } from '../new-order-request.js';
import { Command } from '../parts/copy.js';
import { errorAt, FormField } from '../parts/form-field.js';
import { HandedOverView, HandOverProblem, PAGE_READS, ReaderFields, type Readers, useHandOver } from '../parts/hand-over.js';
import { InstallerNameInput, useInstallerNames } from '../parts/installer-names.js';
import { ProblemNote } from '../parts/problem-note.js';
import { useSay } from '../phrase.js';
import { usePreferences } from '../preferences.js';
import { useResource } from '../resource.js';
import { useMay, useUser } from '../session.js';
import type { StringKey } from '../strings/index.js';
import { type ControllerList, FIRST_CONTROLLER } from './controllers.js';

/** As which the draft is kept. */
const FORM = 'new order';

interface OrderDraft {
  readonly terms: OrderTerms;
  readonly readers: Readers;
}

const EMPTY_DRAFT: OrderDraft = { terms: NEW_ORDER, readers: PAGE_READS };
/** Controllers that are offered to choose from. */
const MAX_OFFERED = 1_000;
/** Of one request, as the API takes it. */
const MAX_NODES = 100_000;

export function NewOrderPage(): JSX.Element {
  const say = useSay();
  const isUtc = usePreferences().zone === 'utc';
  const [{ terms, readers }, setDraft] = useKeptDraft(FORM, () => EMPTY_DRAFT);
  // A form that is filled in already needs a way to be empty.
  const [isAsLeft, setAsLeft] = useState(() => hasDraft(FORM));
  const handOver = useHandOver();
  const { isBusy, problem, isDoubtful, done, start, reset } = handOver;
  const installers = useResource<InstallerList>(useMay('orders') ? INSTALLERS : undefined).data;
  const result = useRef<HTMLHeadingElement>(null);
  const form = useRef<HTMLFormElement>(null);
  useEffect(() => result.current?.focus(), [done !== undefined]);
  useEffect(() => {
    form.current?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
    if (problem === undefined) return undefined;
    // An order that may have been made is not offered a second time.
    if (isDoubtful || mayHaveBegun(problem)) return () => forgetDraft(FORM);
    // What was sent is no draft any more. It is one again where nothing came of it.
    setDraft((draft) => draft);
    return undefined;
  }, [problem]);
  const isKnown = useUser() !== undefined;
  if (!useMay('keys'))
    return (
      <>
        <h1 tabIndex={-1}>{say('page.new-order')}</h1>
        <p>{say(isKnown ? 'problem.forbidden' : 'common.loading')}</p>
      </>
    );
  if (done !== undefined) {
    const { order, count } = done.file.result as { readonly order: number; readonly count: number };
    const { installer, site } = terms;
    return (
      <>
        <h1 tabIndex={-1} ref={result}>
          {say('hand-over.ordered', { order: String(order) }, count)}
        </h1>
        <HandedOverView done={done} order={order} installer={installer.trim()} site={site.trim() === '' ? null : site.trim()} />
        <p class="actions">
          <a class="button" href={`/orders/${order}`}>
            {say('hand-over.open-order', { order: String(order) })}
          </a>
          <button type="button" onClick={reset}>
            {say('hand-over.another')}
          </button>
        </p>
      </>
    );
  }
  const change = (changes: Partial<OrderTerms>): void =>
    setDraft((draft) => ({ ...draft, terms: { ...draft.terms, ...changes } }));
  const fieldProps = { terms, change, errors: problem?.errors };
  return (
    <>
      <h1 tabIndex={-1}>{say('page.new-order')}</h1>
      {isAsLeft && (
        <p class="inline-form">
          <span>{say('new-order.as-left')}</span>
          <button
            type="button"
            onClick={() => {
              setDraft(() => EMPTY_DRAFT);
              forgetDraft(FORM);
              setAsLeft(false);
            }}
          >
            {say('new-order.empty')}
          </button>
        </p>
      )}
      <form
        ref={form}
        class="order-form"
        aria-busy={isBusy}
        onSubmit={(event) => {
          event.preventDefault();
          if (isBusy) return;
          forgetDraft(FORM);
          void start('/v1/orders', orderRequest(terms, { isUtc }), readers);
        }}
      >
        <WhoFields {...fieldProps} stored={installers} />
        <TermFields {...fieldProps} isUtc={isUtc} />
        <KeyFields {...fieldProps} />
        <ReaderFields
          stored={installerNamed(installers, terms.installer)}
          readers={readers}
          onChange={(changed) => setDraft((draft) => ({ ...draft, readers: changed }))}
          errors={problem?.errors}
        />
        <HandOverProblem of={handOver} />
        <div class="actions">
          <button type="submit" class="primary" aria-disabled={isBusy || isDoubtful}>
            {say('new-order.submit', {}, Number(terms.count))}
          </button>
          <span class="quiet" role="status">
            {isBusy && say('hand-over.working')}
          </span>
        </div>
      </form>
    </>
  );
}

interface FieldsProps {
  readonly terms: OrderTerms;
  readonly change: (changes: Partial<OrderTerms>) => void;
  readonly errors: Problem['errors'];
}

interface WhoFieldsProps extends FieldsProps {
  /** Installers that are offered, beside those of orders. */
  readonly stored: InstallerList | undefined;
}

function WhoFields({ terms, change, errors, stored }: WhoFieldsProps): JSX.Element {
  const say = useSay();
  const { names } = useInstallerNames(stored);
  return (
    <fieldset>
      <legend>{say('new-order.who')}</legend>
      <FormField label="orders.installer" error={errorAt(errors, 'installer')}>
        {(control) => (
          <InstallerNameInput
            control={control}
            names={names}
            value={terms.installer}
            onInput={(installer) => change({ installer })}
          />
        )}
      </FormField>
      <FormField label="new-order.contact" isOptional error={errorAt(errors, 'contact')}>
        {(props) => (
          <input
            {...props}
            autoComplete="off"
            value={terms.contact}
            onInput={(event) => change({ contact: event.currentTarget.value })}
          />
        )}
      </FormField>
      <ControllerField terms={terms} change={change} errors={errors} />
      <FormField label="new-order.count" hint={say('new-order.count-about')} error={errorAt(errors, 'count')}>
        {(props) => (
          <input
            {...props}
            type="number"
            required
            min={1}
            max={MAX_NODES}
            value={terms.count}
            onInput={(event) => change({ count: event.currentTarget.value })}
          />
        )}
      </FormField>
      <FormField label="new-order.site" isOptional error={errorAt(errors, 'site')}>
        {(props) => (
          <input
            {...props}
            autoComplete="off"
            value={terms.site}
            onInput={(event) => change({ site: event.currentTarget.value })}
          />
        )}
      </FormField>
    </fieldset>
  );
}

/** A list to choose from, or a field for the ID if there are too many. */
function ControllerField({ terms, change, errors }: FieldsProps): JSX.Element {
  const say = useSay();
  const { data, problem, serverAt, reload } = useResource<ControllerList>(`/v1/controllers?limit=${MAX_OFFERED}`);
  if (problem !== undefined) return <ProblemNote problem={problem} retry={reload} />;
  if (data?.items.length === 0)
    return (
      <div class="note mild">
        <p>{say('new-order.no-controllers')}</p>
        <Command words={FIRST_CONTROLLER} />
      </div>
    );
  const chosen = data?.items.find(({ id }) => id === terms.controller);
  return (
    <FormField
      label="nodes.controller"
      hint={chosen === undefined ? undefined : <ControllerHint controller={chosen} now={serverAt ?? Date.now()} />}
      error={errorAt(errors, 'controller')}
    >
      {(props) =>
        data !== undefined && data.next !== null ? (
          <input
            {...props}
            class="id"
            required
            pattern="[0-9a-fA-F]{8}"
            value={terms.controller}
            onInput={(event) => change({ controller: event.currentTarget.value })}
          />
        ) : (
          <select
            {...props}
            required
            value={terms.controller}
            onChange={(event) => change({ controller: event.currentTarget.value })}
          >
            <option value="">{say(data === undefined ? 'common.loading' : 'new-order.choose-controller')}</option>
            {data?.items.map(({ id, name, nid }) => (
              <option key={id} value={id} selected={id === terms.controller}>
                {[id, name ?? nid].join(' · ')}
              </option>
            ))}
          </select>
        )
      }
    </FormField>
  );
}

/** What the installer should know of the controller before nodes are ordered for it. */
function ControllerHint({ controller, now }: { readonly controller: ControllerView; readonly now: number }): JSX.Element {
  const say = useSay();
  const texts: readonly StringKey[] = [
    `health-report.${healthOf(controller, now)}`,
    ...(controller.pass_through ? (['new-order.passes-through'] as const) : []),
  ];
  return <>{texts.map((text) => say(text)).join(' ')}</>;
}

function TermFields({ terms, change, errors, isUtc }: FieldsProps & { readonly isUtc: boolean }): JSX.Element {
  const say = useSay();
  const zone = isUtc ? 'UTC' : browserZone();
  const days = { type: 'number', required: true, min: 0, max: 36_500, step: 'any' } as const;
  return (
    <fieldset>
      <legend>{say('new-order.terms')}</legend>
      <FormField label="new-order.lifetime" hint={say('new-order.lifetime-about')} error={errorAt(errors, 'lifetime_seconds')}>
        {(props) => (
          <input
            {...props}
            {...days}
            value={terms.lifetimeDays}
            onInput={(event) => change({ lifetimeDays: event.currentTarget.value })}
          />
        )}
      </FormField>
      <FormField label="new-order.grace" error={errorAt(errors, 'grace_seconds')}>
        {(props) => (
          <input
            {...props}
            {...days}
            value={terms.graceDays}
            onInput={(event) => change({ graceDays: event.currentTarget.value })}
          />
        )}
      </FormField>
      <FormField label="orders.from" isOptional hint={say('new-order.zone-about', { zone })} error={errorAt(errors, 'join_from')}>
        {(props) => (
          <input
            {...props}
            type="datetime-local"
            value={terms.joinFrom}
            onInput={(event) => change({ joinFrom: event.currentTarget.value })}
          />
        )}
      </FormField>
      <FormField label="orders.until" isOptional error={errorAt(errors, 'join_until')}>
        {(props) => (
          <input
            {...props}
            type="datetime-local"
            value={terms.joinUntil}
            onInput={(event) => change({ joinUntil: event.currentTarget.value })}
          />
        )}
      </FormField>
    </fieldset>
  );
}

function KeyFields({ terms, change }: FieldsProps): JSX.Element {
  const say = useSay();
  const choice = (isShared: boolean, label: StringKey, about?: StringKey): JSX.Element => (
    <label class="check">
      <input type="radio" name="keys" checked={terms.sharedKey === isShared} onChange={() => change({ sharedKey: isShared })} />{' '}
      <span>
        {say(label)} {about !== undefined && <span class="quiet">{say(about)}</span>}
      </span>
    </label>
  );
  return (
    <fieldset>
      <legend>{say('new-order.keys')}</legend>
      {choice(false, 'new-order.own-keys')}
      {choice(true, 'new-order.shared-key', 'new-order.shared-key-about')}
    </fieldset>
  );
}
