import { mount } from 'svelte';
import App from './App.svelte';
import { app } from './state/app.svelte';
import { startLocale } from './state/i18n.svelte';
import { startRouter } from './state/router.svelte';
import './styles/base.css';
import './styles/prose.css';

const target = document.getElementById('app');
startRouter();
void Promise.all([startLocale().catch(() => {}), app.start()]).then(() => target && mount(App, { target }));
